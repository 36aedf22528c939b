"""`mailer users list` and `mailer users show`: who can be written to."""

from __future__ import annotations

import click

from mailer.audience.user_states import count_users, user_and_refusal, users_by_id
from mailer.campaigns.lint import EMPTY
from mailer.cli.database import id_of, open_database
from mailer.cli.options import LIMIT
from mailer.cli.output import moment, print_fields, print_json, print_rows
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
    print_rows(("_id", "username", "name", "state"), rows)
    click.echo(f"{len(rows)} of {total} users" if total else EMPTY, err=True)


@click.command("show")
@click.argument("user_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print the document alone.")
def show(user_id: str, as_json: bool) -> None:
    """Show one user, named by id or username: what a query sees, and whether they get mail."""
    with open_database() as db:
        user, refusal = user_and_refusal(db, id_of(db, user_id))
    if not as_json:
        fields = [("_id", user.id), ("username", user.username), ("name", user.name), ("email", user.email)]
        fields += [("state", user.state), ("created", moment(user.created_at))]
        print_fields([*fields, ("unsubscribed", moment(user.unsubscribed_at)), *_refusal_fields(refusal)])
    print_json(user.document, indent=2)


def _refusal_fields(refusal: Refusal | None) -> list[tuple[str, object]]:
    if refusal is None:
        return []
    since = moment(refusal.suppressed_at)
    fields: list[tuple[str, object]] = [("suppressed", since)]
    if refusal.campaigns:
        fields += [("refused in campaigns", refusal.campaigns), ("last refusal", refusal.reply)]
    if refusal.blocked_by is not None:
        fields += [("blocked by", refusal.blocked_by), ("reason", refusal.reason)]
    return fields
