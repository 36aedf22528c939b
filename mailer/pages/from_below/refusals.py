"""What is refused: of requests, of a campaign's state, of drafts."""

from __future__ import annotations

from mailer.pages.from_below.template import N_

REFUSALS = (
    N_("You must be logged in to do this."),
    N_(
        "Error, too many requests. Please slow down. You must wait %(seconds)s seconds before trying "
        "this endpoint again."
    ),
    N_("User does not have the permissions required for this action"),
    N_("The request is not valid."),
    N_("The request could not be carried out."),
    N_("Invalid from address"),
    N_("You must provide the [unsubscribe] link."),
    N_("The query is not valid."),
    N_("Not found."),
    N_("This Idempotency-Key was used with a different request."),
    N_("The campaign is in another state."),
    N_("This person was erased, and is not brought back: the id or an address is theirs."),
    N_("The database cannot be written at the moment."),
    N_(
        "The query took longer than %(seconds)s s and was stopped. Ask for less: conditions on roles, "
        "createdAt and _id are fast, patterns and arrays are slow. Or try again when the database is "
        "less busy."
    ),
    N_("Too many queries are being looked at just now; try again in a few seconds."),
    N_("The workspace does not answer at the moment."),
    N_("The campaign is %(state)s, so it cannot be %(action)s."),
    # whole, since the words alone also tell what has happened, which is other German
    N_("The campaign is %(state)s, so it cannot be paused."),
    N_("The campaign is %(state)s, so it cannot be resumed."),
    N_("The campaign is %(state)s, so it cannot be cancelled."),
    N_("Those who have not had it get the campaign %(campaign)s instead, so it cannot be resumed."),
    N_("tried again"),
    N_("The campaign's body was purged."),
    N_("There is no campaign %(campaign)s."),
    N_("The campaign is %(state)s; pause it to change what it says."),
    N_("The campaign has version %(version)s by now."),
    N_("Somebody else has just changed the text."),
    N_("Messages of the campaign are still in hand; try again in a few seconds."),
    N_("What the campaign said was purged."),
    N_("The campaign of `reached` too. Name the outcomes that are meant in one of them."),
    N_("It was a dry run, which reaches nobody but its sender."),
    N_("The campaign is %(state)s. Pause or cancel it first."),
    N_("The last messages of the campaign are not on record yet. Try again in a minute."),
    N_("Those who have not had it get the campaign %(campaign)s instead, so it cannot be %(action)s."),
    N_("There is no user with the id or the username %(name)s."),
    N_("There is no user with the id, the username or the address %(name)s."),
    N_("There is no active user with the id %(name)s."),
    N_("This person has no address that could be blocked or lifted."),
    N_(
        "The campaign %(campaign)s is not over, and has the address in what it says or as its sender. "
        "Cancel it, or wait until it has ended."
    ),
    N_("There is no such draft."),
    N_("The draft was changed elsewhere."),
    N_("The draft was sent."),
    N_("There are %(count)s drafts. Delete some, and save this one again."),
    N_("There is no such message."),
    N_("There is no such part."),
    N_("query: More than %(count)s words."),
    N_("query: %(name)s: is not followed by a size such as 100kb."),
    N_("query: %(name)s: is not followed by a date such as 2026-11-29."),
    N_("tz: No time zone of this name."),
    N_("Missing data for required field."),
    N_("Field may not be null."),
    N_("Not a valid string."),
    N_("Not a JSON object."),
    N_("Is empty."),
    N_("Unknown field."),
    N_("Must be one of: %(choices)s."),
    N_("Longer than maximum length %(count)s."),
    N_("Has a control character, a line break or half a character."),
    N_("Has a NUL or half a character."),
    N_('Neither a boolean nor "true" or "false".'),
    N_("Neither an email address nor `Name <address>`."),
    N_("Is no valid address."),
    N_("Not a list of 1 to %(count)s addresses."),
    N_("Has something that is no email address."),
    N_("Not a whole number from 0 to %(count)s."),
    N_("to: Only a dry run goes to those who are named; set dryrun to true."),
    N_("subject: Either this or body must be given."),
    N_("Is empty; leave it out to write to everybody."),
    N_("Not a time as ISO 8601 has it."),
    N_("Names no outcome; leave it out to mean `sent` and `uncertain`."),
    N_("%(what)s: a control character, line separator or lone surrogate"),
    N_("%(what)s: not a valid address"),
    N_("body: a NUL or a lone surrogate"),
    N_("address: not in its envelope form"),
    N_("_id: Name the id or an address of who comes back."),
    N_("addresses: More than %(count)s."),
    N_("addresses: Not a valid address."),
    N_("Nobody who was erased had this id or one of these addresses."),
)
