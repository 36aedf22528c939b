"""Everybody who must not be written to, each reason by itself, read page by page. Who was erased is in no list."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select

from mailer.storage.database import AnyRow, Database
from mailer.storage.models import RefusedAddress
from mailer.suppression.exchange.entries import Entry, Why
from mailer.suppression.suppressed_addresses import SUPPRESSED
from mailer.suppression.unsubscribe_lists import all_unsubscribed_users
from mailer.suppression.wishes import all_kept_wishes

PAGE = 1000  # addresses read at a time


def everybody(db: Database) -> Iterator[Entry]:
    """The unsubscribed users, the wishes that are kept for whoever comes, and the suppressed addresses."""
    for user in all_unsubscribed_users(db):
        yield Entry(Why.UNSUBSCRIBED, user.address, user.user_id, user.unsubscribed_at)
    for wish in all_kept_wishes(db):
        reason = Why.SHARED if wish.shared else Why.UNSUBSCRIBED
        yield Entry(reason, wish.address, wish.user_id, wish.unsubscribed_at)
    for row in _suppressed(db):
        yield from _reasons(row)


def _suppressed(db: Database) -> Iterator[AnyRow]:
    after = ""
    while True:
        query = select(RefusedAddress.__table__).where(SUPPRESSED, RefusedAddress.address > after)
        with db.read() as connection:
            rows = connection.execute(query.order_by(RefusedAddress.address).limit(PAGE)).all()
        yield from rows
        if len(rows) < PAGE:
            return
        after = rows[-1].address


def _reasons(row: AnyRow) -> Iterator[Entry]:
    """Each of the reasons for which the address is suppressed; refusals that alone would not be enough are none."""
    if row.complained_at is not None:
        yield Entry(Why.COMPLAINED, row.address, since=row.complained_at)
    if row.blocked_at is not None:
        yield Entry(Why.BLOCKED, row.address, since=row.blocked_at, words=row.block_reason or "", by=row.blocked_by)
    counted = row.campaigns > 0 or row.bounced_at is not None
    if counted and row.suppressed_at not in (row.complained_at, row.blocked_at):
        reason = Why.REFUSED if row.bounced_at is None else Why.BOUNCED
        counted = {"words": row.reply, "rule": row.rule, "campaigns": row.campaigns}
        yield Entry(reason, row.address, since=row.suppressed_at, **counted)
