"""`mailer users list` and `mailer users show`: who can be written to."""

from __future__ import annotations

from collections.abc import Sequence

import click

from mailer.audience.user_states import count_users, users_by_id
from mailer.campaigns.checks.lint import EMPTY
from mailer.campaigns.people.person import Unsubscription, WrittenNote, person
from mailer.cli.database import id_of, open_database
from mailer.cli.options import LIMIT
from mailer.cli.output import erased_note, moment, print_fields, print_json, print_notes, print_rows
from mailer.storage.erased.people import count_erased
from mailer.suppression.history import FROM_JOURNAL, PastEvent
from mailer.suppression.suppressed_addresses import Refusal


@click.command("list")
@LIMIT
@click.option("--json", "as_json", is_flag=True, help="One document a line, which `users import` reads.")
def list_(limit: int, as_json: bool) -> None:
    """Show the users by _id."""
    with open_database() as db:
        found = users_by_id(db, limit or None)
        if as_json:
            for user in found:
                print_json(user.document)
            return
        rows = [(user.id, user.username, user.name, user.state) for user in found]
        total = count_users(db)
        erased = count_erased(db)
    print_rows(("_id", "username", "name", "state"), rows)
    click.echo(f"{len(rows)} of {total} users" if total else EMPTY, err=True)
    print_notes(erased_note(erased))


@click.command("show")
@click.argument("user_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print the document alone.")
def show(user_id: str, as_json: bool) -> None:
    """Show one user, named by id or username: what a query sees, whether they get mail and why not, and notes."""
    with open_database() as db:
        found = person(db, id_of(db, user_id))
    user = found.user
    if not as_json:
        fields: list[tuple[str, object]] = [
            ("_id", user.id),
            ("username", user.username),
            ("name", user.name),
            ("email", user.email),
        ]
        fields += [("state", user.state), ("created", moment(user.created_at))]
        fields += [("unsubscribed", moment(user.unsubscribed_at)), *_wish_fields(found.unsubscription)]
        fields += [("history", told(event)) for event in found.history]
        print_fields([*fields, *_refusal_fields(found.refusal), *_note_fields(found.notes)])
    print_json(user.document, indent=2)


def _wish_fields(wish: Unsubscription | None) -> list[tuple[str, object]]:
    if wish is None:
        return []
    by = f"{wish.because} ({wish.who})" if wish.who else wish.because.value
    more = (("list", wish.source), ("from the campaign", wish.campaign_id))
    return [("by", by), *((name, value) for name, value in more if value)]


def told(event: PastEvent) -> str:
    """An event of the history of unsubscriptions in one line, for people to read."""
    when = moment(event.at) if event.at is not None else "at an unknown time"
    by = f"{event.means} ({event.who})" if event.who else event.means
    by_list = "" if event.source == FROM_JOURNAL else "by the list "
    named = (("from the campaign ", event.campaign_id), (by_list, event.source))
    return ", ".join([f"{when} {event.event}", f"by {by}", *(f"{what}{name}" for what, name in named if name)])


def _note_fields(notes: Sequence[WrittenNote]) -> list[tuple[str, object]]:
    return [("note", f"{moment(one.at)} {one.who}, {one.act}: {one.note}") for one in notes]


def _refusal_fields(refusal: Refusal | None) -> list[tuple[str, object]]:
    if refusal is None:
        return []
    since = moment(refusal.suppressed_at)
    fields: list[tuple[str, object]] = [("suppressed", since)]
    if refusal.campaigns:
        fields += [("refused in campaigns", refusal.campaigns), ("last refusal", refusal.reply)]
    elif refusal.rule or refusal.reply:  # it came on a list
        fields += [("suppressed because", ": ".join(filter(None, (refusal.rule, refusal.reply))))]
    times = (("last bounce", refusal.bounced_at), ("marked as spam", refusal.complained_at))
    fields += [(name, moment(at)) for name, at in times if at is not None]
    if refusal.blocked_by is not None:
        fields += [("blocked by", refusal.blocked_by), ("reason", refusal.reason)]
    return fields
