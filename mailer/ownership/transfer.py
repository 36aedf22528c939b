"""All campaigns of one caller handed over to another, who sees and controls them from then on."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from mailer.audit.actor import current_actor
from mailer.audit.log import Act, record
from mailer.errors import InvalidParams
from mailer.storage.database import Database
from mailer.storage.models import AuthToken, Campaign, MailboxArrival, MailboxMessage, User
from mailer.storage.models.states import UNFINISHED
from mailer.timeline.events import Kind, happened_to


@dataclass(frozen=True, slots=True)
class Transferred:
    """How many campaigns were handed over, from whom and to whom, and the ids of those that are not over."""

    giver: str
    receiver: str
    campaigns: int
    open: tuple[str, ...]


def transfer(db: Database, giver: str, receiver: str) -> Transferred:
    """Make `receiver` the owner of every campaign of `giver`, whether it is over or not. A paused one stays paused.

    Both are the id or the username of a user, or the id of a service. The giver may be gone; the receiver must be an
    active user, or a service that has a token. Raises `InvalidParams`, which names `from` or `to`.
    """
    with db.write() as connection:
        receiver = _receiver(connection, receiver)
        giver = _id_of(connection, giver) or giver
        if giver == receiver:
            raise InvalidParams("to: Is the one who has the campaigns already.", field="to")
        theirs = Campaign.caller_id == giver
        locked = select(Campaign.id, Campaign.state).where(theirs).order_by(Campaign.id)
        rows = connection.execute(locked.with_for_update(key_share=True)).all()
        if not rows:
            raise InvalidParams(f"from: Nobody called {giver} has a campaign.", field="from")
        connection.execute(update(Campaign).where(theirs).values(caller_id=receiver))
        for table in (MailboxArrival, MailboxMessage):  # whose messages follow the campaign
            connection.execute(update(table).where(table.caller_id == giver).values(caller_id=receiver))
        going = tuple(row.id for row in rows if row.state in UNFINISHED)
        details = {"to": receiver, "campaigns": len(rows), "open": list(going)}
        now = db.clock(connection)
        record(connection, now, Act.TRANSFER_CAMPAIGNS, giver, **details)
        who = {"by": current_actor().who, "from": giver, "to": receiver}
        happened_to(connection, now, Kind.TRANSFERRED, [row.id for row in rows], **who)
    return Transferred(giver, receiver, len(rows), going)


def _receiver(connection: Connection, name: str) -> str:
    user_id = _id_of(connection, name)
    if user_id is None:
        if connection.scalar(select(AuthToken.user_id).where(AuthToken.service, AuthToken.user_id == name).limit(1)):
            return name
        raise InvalidParams(f"to: There is no user and no service called {name}.", field="to")
    if not connection.scalar(select(User.active).where(User.id == user_id)):
        raise InvalidParams(f"to: The user {user_id} is inactive.", field="to")
    return user_id


def _id_of(connection: Connection, name: str) -> str | None:
    """The id of the user with this id, or with this username where it is nobody's id; None: nobody, or several."""
    ids = connection.scalars(select(User.id).where(User.id == name)).all()
    ids = ids or connection.scalars(select(User.id).where(User.username == name).limit(2)).all()
    return ids[0] if len(ids) == 1 else None
