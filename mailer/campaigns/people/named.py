"""Who is meant by an id, a user name or an address, also by an address that they had when a campaign was sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from mailer.directory.users import find_id
from mailer.errors import NotFound
from mailer.messages.addresses import comparable, envelope_address
from mailer.messages.links import NOBODY
from mailer.storage.erased.people import erased_addresses, erased_users
from mailer.storage.models import Campaign, Delivery, RefusedAddress, User, comparable_address
from mailer.suppression.history import PastEvent, events_of

AT_ADDRESS = 20  # users shown at one address
LATEST = 20  # campaigns in which a former address is looked for: it has no index, which every message would keep
SECONDS = 2.0  # for that


@dataclass(frozen=True, slots=True)
class ExplainedAddress:
    """What is known of an address that no user has: events of the history, and whether it is suppressed or erased.

    `campaigns` are how many of the latest were looked through for somebody who had it then. `complained_at` is when
    somebody there marked a message as spam (ms since 1970); None: nobody did.
    """

    events: Sequence[PastEvent]
    suppressed_at: int | None  # ms since 1970
    erased: bool
    campaigns: int = 0
    complained_at: int | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """Who is meant, by id. `address` None: somebody has what was asked for."""

    user_ids: Sequence[str]
    address: ExplainedAddress | None = None


def named(
    connection: Connection, asked: str, campaign_id: str | None = None, clock: Callable[[], float] = time.monotonic
) -> Named:
    """Who is meant by `asked`: one by id or user name, or all at an address.

    With `campaign_id` also who had the address when it was sent; if nobody has it now, who had it in one of the latest
    campaigns. Raises `NotFound` for what is no address, and nobody's name.
    """
    user_id = find_id(connection, asked)
    if user_id is not None:
        return Named([user_id])
    address = envelope_address(asked)
    if address is None:
        if erased_users(connection, [asked]):
            return Named([asked])
        raise NotFound(f"There is no user with the id, the username or the address {asked}.")
    found = at_address(connection, address)
    if campaign_id is not None:
        found += _had(connection, campaign_id, address)
    if found:
        return Named(list(dict.fromkeys(found)))
    had, campaigns = ([], 0) if campaign_id is not None else _had_lately(connection, address, clock)
    return Named(had, _about(connection, address, campaigns))


def at_address(connection: Connection, address: str) -> list[str]:
    """The ids of those who have the address now, whatever its case; at most `AT_ADDRESS`."""
    theirs = select(User.id).where(comparable_address() == comparable(address)).order_by(User.id).limit(AT_ADDRESS)
    return list(connection.scalars(theirs))


def _had(connection: Connection, campaign_id: str, address: str) -> list[str]:
    had = (Delivery.campaign_id == campaign_id, func.lower(Delivery.address) == comparable(address))
    found = select(Delivery.user_id).where(*had, Delivery.user_id.not_like(f"{NOBODY}%"))
    return list(connection.scalars(found.order_by(Delivery.user_id).limit(AT_ADDRESS)))


def _had_lately(connection: Connection, address: str, clock: Callable[[], float]) -> tuple[list[str], int]:
    """Who had the address in one of the latest campaigns, and in how many they were looked for."""
    ends, found, looked = clock() + SECONDS, list[str](), 0
    sent = (~Campaign.dry_run, Campaign.started_at.is_not(None))
    for campaign_id in connection.scalars(
        select(Campaign.id).where(*sent).order_by(Campaign.id.desc()).limit(LATEST)
    ).all():
        if clock() > ends:
            break
        found += _had(connection, campaign_id, address)
        looked += 1
    return list(dict.fromkeys(found))[:AT_ADDRESS], looked


def _about(connection: Connection, asked: str, campaigns: int) -> ExplainedAddress:
    address = comparable(asked)
    times = select(RefusedAddress.suppressed_at, RefusedAddress.complained_at)
    row = connection.execute(times.where(RefusedAddress.address == address)).one_or_none()
    suppressed_at, complained_at = row or (None, None)
    erased = bool(erased_addresses(connection, [address]))
    return ExplainedAddress(events_of(connection, None, address), suppressed_at, erased, campaigns, complained_at)
