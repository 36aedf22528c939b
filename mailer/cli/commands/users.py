"""`mailer users`: who can be written to."""

from __future__ import annotations

from typing import Any

import click
from sqlalchemy import Select, func, select

from mailer.audience.conditions import has_suppressed_address
from mailer.campaigns.review import EMPTY
from mailer.cli.commands.users_import import import_
from mailer.cli.output import moment, print_fields, print_json, print_rows
from mailer.cli.storage import id_of, open_database
from mailer.storage.database import Database
from mailer.storage.models import User
from mailer.suppression.refused_addresses import Refusal, refusal_of

PAGE = 1000


@click.group()
def users() -> None:
    """The directory: who can be written to."""


users.add_command(import_)


@users.command("list")
@click.option("--limit", type=click.IntRange(min=0), default=50, show_default=True, help="How many; 0 is all.")
@click.option("--json", "as_json", is_flag=True, help="One document a line, which `users import` reads.")
def list_(limit: int, as_json: bool) -> None:
    """Show the users by _id."""
    statement = (
        select(User.__table__, has_suppressed_address().label("suppressed")).order_by(User.id).limit(limit or None)
    )
    with open_database() as db:
        if as_json:
            _print_documents(db, statement)
        else:
            _print_users(db, statement)


def _print_documents(db: Database, statement: Select[Any]) -> None:
    with db.read() as connection:
        for row in connection.execution_options(yield_per=PAGE).execute(statement):
            print_json(row.document)


def _print_users(db: Database, statement: Select[Any]) -> None:
    with db.read() as connection:
        found = connection.execute(statement).all()
        total = connection.execute(select(func.count()).select_from(User)).scalar_one()
    print_rows(("_id", "username", "name", "state"), [(row.id, row.username, row.name, _state(row)) for row in found])
    click.echo(f"{len(found)} of {total} users" if total else EMPTY, err=True)


def _state(row: Any) -> str:
    if not row.active:
        return "deactivated"
    if row.unsubscribed_at is not None:
        return "unsubscribed"
    if row.suppressed:
        return "suppressed"
    return "subscribed" if row.email else "no valid address"


@users.command("show")
@click.argument("user_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print the document alone.")
def show(user_id: str, as_json: bool) -> None:
    """Show one user, named by id or username: what a query sees, and whether they get mail."""
    with open_database() as db:
        user_id = id_of(db, user_id)
        with db.read() as connection:
            mine = select(User.__table__, has_suppressed_address().label("suppressed")).where(User.id == user_id)
            row = connection.execute(mine).one()
            refusal = refusal_of(connection, user_id)
    if not as_json:
        fields = [("_id", row.id), ("username", row.username), ("name", row.name), ("email", row.email)]
        fields += [("state", _state(row)), ("created", moment(row.created_at))]
        print_fields([*fields, ("unsubscribed", moment(row.unsubscribed_at)), *_refusal_fields(refusal)])
    print_json(row.document, indent=2)


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
