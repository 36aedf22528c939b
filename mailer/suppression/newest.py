"""The suppressed addresses by when that was, the newest first: what a person looks through.

A list for programs goes by the address, which is the key (see `suppressed_addresses`); this one reads all suppressed
addresses for each of its pages, and sorts no more of them than a page has.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import and_, func, or_, select

from mailer.storage.database import Database
from mailer.storage.models import RefusedAddress, comparable_address
from mailer.suppression.suppressed_addresses import BLOCK, REPORTED, SUPPRESSED, SuppressedAddress


class After(NamedTuple):
    """The last address of the page before, and when it was suppressed (ms)."""

    suppressed_at: int
    address: str


def newest_suppressed(db: Database, *, after: After | None = None, count: int) -> list[SuppressedAddress]:
    """A page of `count` addresses; those of one moment are in the order of the addresses."""
    users = select(func.count()).where(comparable_address() == RefusedAddress.address).scalar_subquery()
    refused = (RefusedAddress.campaigns, RefusedAddress.rule, RefusedAddress.reply)
    since, address = RefusedAddress.suppressed_at, RefusedAddress.address
    query = select(address, since, *refused, *BLOCK, users, *REPORTED).where(SUPPRESSED)
    if after is not None:
        same = and_(since == after.suppressed_at, address > after.address)
        query = query.where(or_(since < after.suppressed_at, same))
    with db.read() as connection:
        found = connection.execute(query.order_by(since.desc(), address).limit(count))
        return [SuppressedAddress(*row) for row in found]
