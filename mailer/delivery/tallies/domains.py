"""What came of a campaign's recipients by the domain of their addresses: counts by their last outcome.

Counting a million deliveries would take a second each time. So each transaction that records outcomes adds them to a
few rows, as it does with the minutes. A campaign has a row for each of at most `LARGEST` domains, and one for all
others. Which domains these are is settled with its first outcomes, by a sample of its batches.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import ColumnElement, Connection, Insert, and_, case, delete, func, insert, select

from mailer.delivery.minutes import PARTS
from mailer.delivery.worklist import Claim, Result
from mailer.storage.dialects import NewRow, RowUpsert, in_turn, is_postgresql
from mailer.storage.models import Batch, CampaignDomain, Delivery, DeliveryStatus, User

LARGEST = 20
OTHERS = ""
SAMPLED, SAMPLE = 20, 1000  # batches that are looked into, and users in all of them
KEPT = 256  # campaigns whose domains a process remembers

Changes = dict[str, list[int]]  # by domain, what is added to the count of each status

_STATUSES = tuple(DeliveryStatus)
_PLACE = {status: place for place, status in enumerate(_STATUSES)}


@dataclass(frozen=True, slots=True)
class DomainCounts:
    """How many recipients at `domain` have each outcome; an empty one stands for all that have no row of their own."""

    domain: str
    sent: int
    failed: int
    deferred: int
    uncertain: int
    skipped: int


class DomainTallies:
    """Adds outcomes to the rows. It remembers which domains campaigns have, once these are on record."""

    def __init__(self) -> None:
        self._known: dict[str, frozenset[str]] = {}

    def write(self, connection: Connection, claim: Claim, results: Sequence[Result]) -> None:
        """Add `results`, which the same transaction records, and take away what these recipients counted before."""
        if claim.dry_run or not results:
            return
        known = self._known.get(claim.campaign_id) or self._settled(connection, claim, results)
        add(connection, claim.campaign_id, _changes(results, known))

    def _settled(self, connection: Connection, claim: Claim, results: Sequence[Result]) -> frozenset[str]:
        """The campaign's domains, which are settled here if they are not yet."""
        in_turn(connection, f"domains of {claim.campaign_id}")
        known = _on_record(connection, claim.campaign_id)
        if known:  # else this transaction may still be undone
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[claim.campaign_id] = known
            return known
        known = frozenset({OTHERS, *_largest(connection, claim, results)})
        zero = dict.fromkeys(_STATUSES, 0)
        rows = [{"campaign_id": claim.campaign_id, "domain": one, "part": 0, **zero} for one in sorted(known)]
        connection.execute(insert(CampaignDomain), rows)
        return known


def _changes(results: Sequence[Result], known: Collection[str]) -> Changes:
    """What `results` add. Most are taken at the first attempt: these are only counted by domain, in one go."""
    changes: Changes = {}
    first, others = [], []
    for result in results:
        (recipient, past, *_), status = result[0], result[1]
        if status is DeliveryStatus.SENT and past is None:
            first.append(recipient[2])
        else:
            others.append(result)
    for domain, count in Counter(map(_domain, first)).items():
        _of(changes, domain, known)[_PLACE[DeliveryStatus.SENT]] += count
    for result in others:
        counts = _of(changes, _domain(result.item.recipient.address), known)
        counts[_PLACE[result.status]] += 1
        if result.item.status is not None:
            counts[_PLACE[result.item.status]] -= 1
    return changes


def _of(changes: Changes, domain: str, known: Collection[str]) -> list[int]:
    return changes.setdefault(domain if domain in known else OTHERS, [0] * len(_STATUSES))


def _on_record(connection: Connection, campaign_id: str) -> frozenset[str]:
    mine = CampaignDomain.campaign_id == campaign_id
    return frozenset(connection.scalars(select(CampaignDomain.domain).where(mine).distinct()))


def _domain(address: str) -> str:
    return address[address.rfind("@") + 1 :].lower()


def _largest(connection: Connection, claim: Claim, results: Iterable[Result]) -> list[str]:
    """The most frequent domains of `results` and of a sample from all batches of the campaign."""
    mine = select(Batch.first_id, Batch.last_id).where(Batch.campaign_id == claim.campaign_id)
    ranges = connection.execute(mine.order_by(Batch.number)).all()
    found = Counter(_domain(result.item.recipient.address) for result in results)
    chosen = ranges[:: len(ranges) // SAMPLED + 1]
    for first_id, last_id in chosen:
        in_range = (User.id >= first_id, User.id <= last_id, User.email.is_not(None))
        some = connection.scalars(select(User.email).where(*in_range).order_by(User.id).limit(SAMPLE // len(chosen)))
        found.update(_domain(address or "") for address in some)
    return list(islice((one for one, _ in found.most_common() if one), LARGEST))


def _adding(new: NewRow) -> Insert:
    sums = {status.value: getattr(CampaignDomain, status) + new.excluded[status] for status in _STATUSES}
    return new.on_conflict_do_update(index_elements=["campaign_id", "domain", "part"], set_=sums)


_ADD = RowUpsert(CampaignDomain, ("campaign_id", "domain", "part", *(status.value for status in _STATUSES)), _adding)


def add(connection: Connection, campaign_id: str, changes: Changes) -> None:
    """Write the changes, last of all and in the order of domains: nobody waits here for somebody who waits for them."""
    part = threading.get_native_id() % PARTS if is_postgresql(connection) else 0
    rows = [(campaign_id, domain, part, *counts) for domain, counts in sorted(changes.items()) if any(counts)]
    if rows:
        _ADD.run(connection, rows)


def reopening(connection: Connection, campaign_id: str, statuses: Collection[DeliveryStatus]) -> Changes:
    """Return what changes when `ledger.reopen` makes deferred who has one of `statuses` for good.

    It is asked before, and given to `add` at the end of the transaction. No worker changes any of it meanwhile.
    """
    connection.execute(select(Batch.number).where(Batch.campaign_id == campaign_id).with_for_update())
    known = _on_record(connection, campaign_id)
    if not known:
        return {}
    domain = _domain_of(connection)
    named = case((domain.in_(sorted(known)), domain), else_=OTHERS).label("domain")
    final = and_(Delivery.campaign_id == campaign_id, Delivery.due_at.is_(None), Delivery.status.in_(statuses))
    moved = select(named, Delivery.status, func.count()).where(final).group_by(named, Delivery.status)
    changes: Changes = {}
    for name, status, count in connection.execute(moved):
        counts = changes.setdefault(name, [0] * len(_STATUSES))
        counts[_PLACE[DeliveryStatus(status)]] -= count
        counts[_PLACE[DeliveryStatus.DEFERRED]] += count
    return changes


def _domain_of(connection: Connection) -> ColumnElement[str]:
    address = func.lower(func.coalesce(Delivery.address, ""))
    at = func.strpos(address, "@") if is_postgresql(connection) else func.instr(address, "@")
    return func.substr(address, at + 1)


def domain_counts(connection: Connection, campaign_id: str) -> list[DomainCounts]:
    """Return the counts of a campaign, the largest domain first and all others last."""
    sums = [func.sum(getattr(CampaignDomain, status)) for status in _STATUSES]
    query = select(CampaignDomain.domain, *sums).where(CampaignDomain.campaign_id == campaign_id)
    rows = connection.execute(query.group_by(CampaignDomain.domain))
    # an address that changed between two attempts has taken one away from another domain
    found = [DomainCounts(domain, *(max(0, int(count)) for count in counts)) for domain, *counts in rows]
    counted = {one: sum(getattr(one, status) for status in _STATUSES) for one in found}
    return sorted((one for one in found if counted[one]), key=lambda one: (not one.domain, -counted[one], one.domain))


def forget(connection: Connection, campaign_id: str) -> None:
    """Delete the campaign's rows."""
    connection.execute(delete(CampaignDomain).where(CampaignDomain.campaign_id == campaign_id))
