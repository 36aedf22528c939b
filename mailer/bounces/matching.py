"""Find the delivery that a report is about: by what is signed, else by what the returned message says of itself.

What a report names is only believed as far as it is on record: the message must have been sent, or may have been, and
not as a dry run. Without a proof, the recipient's address must be that to which the message went, and a complaint that
came by mail is about nothing: everybody can write one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, not_, select

from mailer.bounces.evidence import MESSAGE_ID, Evidence, Proof, Refuted
from mailer.bounces.report import MAIL, Kind, Report
from mailer.interception.rules import REDIRECTED
from mailer.messages.addresses import comparable, envelope_address
from mailer.messages.recipient import DIGEST_SIZE, user_digest
from mailer.messages.return_addresses import Named, Use
from mailer.messages.template import delivery_id
from mailer.storage.models import Campaign, Delivery, DeliveryStatus, User, comparable_address
from mailer.suppression.history import is_recipient
from mailer.text import is_storable

_SENT = and_(
    Delivery.status.in_([DeliveryStatus.SENT, DeliveryStatus.UNCERTAIN]),
    # what comes back of a redirected message is about the address that got it, and nobody's
    not_(Delivery.reply.startswith(REDIRECTED, autoescape=True)),
)
_MOST = 100  # users with one address


class Sent(NamedTuple):
    """A delivery that a report is about. `address` is where it went; None: the campaign was purged. Times are in ms."""

    campaign_id: str
    user_id: str
    address: str | None
    first_at: int
    bounced_at: int | None
    bounce_permanent: bool | None
    complained_at: int | None


_COLUMNS = [getattr(Delivery, name) for name in Sent._fields]


def find(connection: Connection, evidence: Evidence, report: Report) -> Sent | None:
    """The delivery that a bounce or a complaint is about; None: none that we know, or the report is forged."""
    try:
        proof = evidence.proof(report)
    except Refuted:
        return None
    if proof is not None:
        return _proved(connection, proof, report)
    if report.source == MAIL and report.kind is Kind.COMPLAINED:
        return None
    return _named(connection, report)


def is_in_hand(connection: Connection, evidence: Evidence, report: Report) -> bool:
    """Whether what is proved is a message that is being sent just now, so that its outcome is not on record yet."""
    try:
        proof = evidence.proof(report)
    except Refuted:
        return False
    if proof is None or report.kind is Kind.UNSUBSCRIBED:
        return False
    for user_id in users_of(connection, _named_by(proof)):
        mine = (Delivery.campaign_id == proof.campaign_id, Delivery.user_id == user_id)
        if connection.scalar(select(Delivery.status).where(*mine)) is None:
            return is_recipient(connection, proof.campaign_id, user_id)
    return False


def _proved(connection: Connection, proof: Proof, report: Report) -> Sent | None:
    """What is proved by the returned message alone must not be said of another address than the delivery's."""
    found = _sent(connection, proof.campaign_id, users_of(connection, _named_by(proof)))
    named = report.address if proof.returned_only else None
    return _first([one for one in found if named is None or one.address is None or _is_at(one, named)])


def _named_by(proof: Proof) -> Named:
    return Named(Use.BOUNCE, proof.campaign_id, proof.digest)


def _named(connection: Connection, report: Report) -> Sent | None:
    """By our Message-ID, else by the campaign's id and the recipient's address: what nobody has signed."""
    said = MESSAGE_ID.fullmatch((report.message_id or "").strip().strip("<>"))
    if said is not None:
        found = _by_message_id(connection, said[1], said[2].lower(), report.address)
        if found is not None:
            return found
    if report.campaign_id is None or report.address is None or not is_storable(report.campaign_id + report.address):
        return None
    holders = select(User.id).where(comparable_address() == _normal(report.address)).order_by(User.id).limit(_MOST)
    theirs = _sent(connection, report.campaign_id, connection.scalars(holders).all())
    return _first([one for one in theirs if _is_at(one, report.address)])


def users_of(connection: Connection, named: Named) -> Sequence[str]:
    """The ids of the users whom a token may name: one as a rule, and none who was erased.

    Users whom a process of older code has added have no digest on record.
    """
    known = connection.scalars(select(User.id).where(User.digest == named.digest)).all()
    if known:
        return known
    others = connection.scalars(select(User.id).where(User.digest.is_(None)))
    return [one for one in others if user_digest(one) == named.digest]


def _by_message_id(connection: Connection, campaign_id: str, digest: str, address: str | None) -> Sent | None:
    """By the Message-ID that we gave it. Reports often leave the address out, which is compared if it is there."""
    users = users_of(connection, Named(Use.BOUNCE, campaign_id, digest[: 2 * DIGEST_SIZE]))
    mine = [one for one in users if delivery_id(campaign_id, one) == f"{campaign_id}.{digest}"]
    found = _sent(connection, campaign_id, mine)
    return _first([one for one in found if address is None or _is_at(one, address)])


def _sent(connection: Connection, campaign_id: str, user_ids: Sequence[str]) -> list[Sent]:
    if not user_ids:
        return []
    theirs: list[ColumnElement[bool]] = [Delivery.campaign_id == campaign_id, Delivery.user_id.in_(user_ids), _SENT]
    query = select(*_COLUMNS).join(Campaign, Campaign.id == Delivery.campaign_id).where(*theirs, ~Campaign.dry_run)
    return [Sent(*row) for row in connection.execute(query.order_by(Delivery.user_id))]


def _first(found: Sequence[Sent]) -> Sent | None:
    """Of users who share an address each got a message: the first that has not come back."""
    return next((one for one in found if one.bounced_at is None), found[0] if found else None)


def _is_at(one: Sent, address: str) -> bool:
    return one.address is not None and comparable(one.address) == _normal(address)


def _normal(address: str) -> str:
    return comparable(envelope_address(address) or address)
