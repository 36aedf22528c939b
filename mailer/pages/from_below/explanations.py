"""Why somebody got a campaign or not, as it is told of one person, and how a second copy came about."""

from __future__ import annotations

from mailer.pages.from_below.template import N_

EXPLANATIONS = (
    N_("They are not in the directory any more, and got nothing of this campaign."),
    N_("What it said was purged, so nobody knows any more whom it selected."),
    N_("A dry run goes to the address in From alone."),
    N_("It could not be sent at all: %(reason)s"),
    N_("It was cancelled before it was planned."),
    N_("It is not planned yet. The campaign is %(state)s: %(reason)s."),
    N_("It is not planned yet. The campaign is %(state)s."),
    N_("Its query is of another version, and cannot be asked any more."),
    N_("Its query does not select them, as they stand in the directory now."),
    N_("The directory has no valid address for them."),
    N_("Their address was suppressed since %(time)s, refused in %(count)s campaigns: %(answer)s"),
    N_("Their address was suppressed since %(time)s, refused or bounced in %(count)s campaigns: %(answer)s"),
    N_("Their address was suppressed since %(time)s, as somebody there marked a message as spam %(when)s."),
    N_("Their address was suppressed since %(time)s, blocked by %(who)s: %(quoted)s"),
    N_("It was sent, and they marked it as spam %(time)s."),
    N_("It was sent, and bounced %(time)s, for good, because of %(what)s (%(code)s): %(quoted)s"),
    N_("It was sent, and bounced %(time)s, for good, because of %(what)s (%(code)s)."),
    N_("It was sent, and bounced %(time)s, for good, because of %(what)s: %(quoted)s"),
    N_("It was sent, and bounced %(time)s, for good, because of %(what)s."),
    N_("It was sent, and bounced %(time)s, for now, because of %(what)s (%(code)s): %(quoted)s"),
    N_("It was sent, and bounced %(time)s, for now, because of %(what)s (%(code)s)."),
    N_("It was sent, and bounced %(time)s, for now, because of %(what)s: %(quoted)s"),
    N_("It was sent, and bounced %(time)s, for now, because of %(what)s."),
    N_("the address"),
    N_("the mailbox"),
    N_("the message"),
    N_("the sender"),
    N_("too much at once"),
    N_("the way there"),
    N_("The user %(name)s has the same address and got the one message for it."),
    N_("Somebody else at their address had unsubscribed, which counts for all there."),
    N_("The user %(name)s has the same address, and the one message for it was theirs: %(state)s."),
    N_("Their address was suppressed from %(time)s until %(end)s, refused in %(count)s campaigns."),
    N_("Their address was suppressed from %(time)s until %(end)s, blocked by %(who)s."),
    N_("Their address was suppressed from %(time)s until %(end)s, blocked by %(who)s: %(quoted)s"),
    N_("Their address was blocked by %(who)s, %(time)s."),
    N_("Their address was blocked by %(who)s, %(time)s: %(quoted)s"),
    N_("They were inactive: deactivated by %(who)s, %(time)s."),
    N_("They had no valid address: changed by %(who)s, %(time)s."),
    N_("They are inactive in the directory, so nobody writes to them."),
    N_("It was cancelled before their turn, %(time)s."),
    N_("It failed before their turn: %(reason)s"),
    N_("Their turn has not come yet. The campaign is %(state)s: %(reason)s."),
    N_("Their turn has not come yet. The campaign is %(state)s."),
    N_("They came to the directory after it was planned, %(time)s."),
    N_(
        "They were not in the audience when it was planned, %(time)s, or not any more when it was sent. They may have "
        "been suppressed, inactive or without an address then, or have come later; the record does not tell."
    ),
    N_(
        "They were not in the audience when it was planned, %(time)s, or not any more when it was sent. They may have "
        "been suppressed, inactive or without an address then, or have come later; the record does not tell. %(reason)s"
    ),
    N_(
        "They were not in the audience when it was planned, %(time)s, or not any more when it was sent. They may have "
        "been inactive or without an address then, or have come later; the record does not tell."
    ),
    N_(
        "They were not in the audience when it was planned, %(time)s, or not any more when it was sent. They may have "
        "been inactive or without an address then, or have come later; the record does not tell. %(reason)s"
    ),
    N_("They had unsubscribed: %(time)s, by %(means)s (%(who)s), in a message of the campaign %(campaign)s."),
    N_("They had unsubscribed: %(time)s, by %(means)s, in a message of the campaign %(campaign)s."),
    N_("They had unsubscribed: %(time)s, by %(means)s (%(who)s)."),
    N_("They had unsubscribed: %(time)s, by %(means)s."),
    N_("link"),
    N_("one-click"),
    N_("mail"),
    N_("list"),
    N_("api"),
    N_("operator"),
    N_("page"),
    N_("directory"),
    N_("complaint"),
    N_("at an unknown time"),
    N_("%(count)s campaigns have the subject “%(subject)s”: each is a message of its own."),
    N_(
        "%(count)s users have the address, and each got the campaign %(campaign)s. MAILER_MERGE_ADDRESSES sends one "
        "message to all."
    ),
    N_(
        "Up to %(count)s copies of the campaign %(campaign)s: a try had no answer, and was made again. All have the "
        "Message-ID %(id)s."
    ),
)
