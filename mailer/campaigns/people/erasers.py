"""What is deleted of somebody who is erased, table by table, within the transaction that erases them.

Whoever adds a table that holds a name, an address or a document adds an eraser to `ERASERS`.
`tests/test_erasure.py` looks for what is left in every column of every table.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import Connection, Table, delete, or_, select, update

from mailer.audit.log import digest_of, old_digest_of
from mailer.campaigns.people.mentions import elsewhere, in_campaigns
from mailer.campaigns.people.mentions.elsewhere import Place
from mailer.campaigns.people.mentions.spellings import Traces
from mailer.delivery.checkpoints.outcomes import ERASED
from mailer.mailbox.forgetting import forget as forget_messages
from mailer.mailbox.forgetting import forget_campaign
from mailer.ownership.leaving import settle
from mailer.storage.dialects import Upsert
from mailer.storage.models import (
    AuditEntry,
    AuthToken,
    Batch,
    BatchState,
    Delivery,
    LoginLink,
    PageSession,
    PersonNote,
    RecentMail,
    RefusedAddress,
    SavedDraft,
    UnsubscribeEvent,
    User,
    Wish,
    WishOf,
)
from mailer.suppression.wishes import OF_ERASED

AT_ONCE = 500  # campaigns in one statement


@dataclass(frozen=True, slots=True)
class Leaving:
    """Somebody who is erased at `now` (ms since 1970), and what is known of them.

    `addresses` are all that were theirs, as `addresses.comparable` has them, and `traces` the same and their name as
    they stand anywhere. Other users have those in `shared` too. `campaign_ids` are the campaigns with an outcome of
    theirs, `mentioned_in` those that may say something of them, and `places` what else does. Hashes are made under
    `key`.
    """

    user_id: str
    addresses: Collection[str]
    traces: Traces
    shared: Collection[str]
    campaign_ids: Sequence[str]
    mentioned_in: Collection[str]
    places: Sequence[Place]
    key: bytes
    now: int

    @property
    def own(self) -> list[str]:
        """The addresses that nobody else has."""
        return sorted(set(self.addresses) - set(self.shared))


Eraser = Callable[[Connection, Leaving], None]


def _outcomes(connection: Connection, leaving: Leaving) -> None:
    """Keep what came of them, without addresses and replies, which quote addresses.

    A checkpoint that is being written is waited for, and every later one finds that they were erased.
    """
    held = select(Batch.campaign_id).where(Batch.state == BatchState.RUNNING).order_by(Batch.campaign_id, Batch.number)
    running = connection.scalars(held.with_for_update()).all()  # they may have got an outcome just now
    campaign_ids = sorted({*leaving.campaign_ids, *running})
    for begin in range(0, len(campaign_ids), AT_ONCE):
        some = campaign_ids[begin : begin + AT_ONCE]
        theirs = (Delivery.campaign_id.in_(some), Delivery.user_id == leaving.user_id)
        connection.execute(update(Delivery).where(*theirs).values(address=None, reply=ERASED))
        back = Delivery.bounce_reply.is_not(None)
        connection.execute(update(Delivery).where(*theirs, back).values(bounce_reply=ERASED))


_KEEP_SHARED = Upsert(Wish, lambda new: new.on_conflict_do_nothing())


def _wishes(connection: Connection, leaving: Leaving) -> None:
    """Forget their wishes, which the hashes hold from now on.

    An address that others have is kept as a shared wish: with merged addresses nobody is written to there.
    """
    mine = (Wish.kind == WishOf.USER) & (Wish.value == leaving.user_id)
    mine |= (Wish.kind != WishOf.USER) & Wish.value.in_(leaving.own)
    connection.execute(delete(Wish).where(mine))
    connection.execute(update(Wish).where(Wish.kept_by == leaving.user_id).values(kept_by=""))
    times = {"unsubscribed_at": leaving.now, "kept_at": leaving.now, "kept_by": "", "source": OF_ERASED}
    for address in leaving.shared:
        _KEEP_SHARED.run(connection, {"kind": WishOf.SHARED.value, "value": address, **times})


def _history(connection: Connection, leaving: Leaving) -> None:
    """Keep by what they left, by their id alone, and forget what is about their addresses. Rows are written anew."""
    table = cast(Table, UnsubscribeEvent.__table__)
    theirs = or_(table.c.user_id == leaving.user_id, table.c.user_id.is_(None) & table.c.address.in_(leaving.own))
    rows = connection.execute(select(table).where(theirs).order_by(table.c.id)).mappings().all()
    connection.execute(delete(table).where(theirs))
    kept = [{**row, "address": None, "source": None} for row in rows if row["user_id"] is not None]
    if kept:
        connection.execute(table.insert(), kept)


def _suppression(connection: Connection, leaving: Leaving) -> None:
    connection.execute(delete(RefusedAddress).where(RefusedAddress.address.in_(leaving.own)))


def _log(connection: Connection, leaving: Leaving) -> None:
    """Put the keyed digest in place of one without a key. Rows are never changed, so the row is written anew."""
    table = cast(Table, AuditEntry.__table__)
    for address in leaving.addresses:
        unkeyed = table.c.about == old_digest_of(address)
        rows = connection.execute(select(table).where(unkeyed)).mappings().all()
        connection.execute(delete(table).where(unkeyed))
        if rows:
            connection.execute(table.insert(), [{**row, "about": digest_of(leaving.key, address)} for row in rows])


def _notes(connection: Connection, leaving: Leaving) -> None:
    connection.execute(delete(PersonNote).where(PersonNote.user_id == leaving.user_id))


def _owned(connection: Connection, leaving: Leaving) -> None:
    """Pause their open campaigns, whatever the setting: nobody is left who answers for them. End their tokens."""
    settle(connection, [leaving.user_id], leaving.now, pause=True)


def _recent(connection: Connection, leaving: Leaving) -> None:
    connection.execute(delete(RecentMail).where(RecentMail.user_id == leaving.user_id))


def _credentials(connection: Connection, leaving: Leaving) -> None:
    for table in (AuthToken, LoginLink, PageSession):
        connection.execute(delete(table).where(table.user_id == leaving.user_id))


def _texts(connection: Connection, leaving: Leaving) -> None:
    """Forget what was said of them. Messages in the mailbox that say it go, whoever they were for."""
    for campaign_id in sorted(in_campaigns.forget(connection, leaving.mentioned_in, leaving.traces)):
        forget_campaign(connection, campaign_id)
    connection.execute(delete(SavedDraft).where(SavedDraft.caller_id == leaving.user_id))
    elsewhere.forget(connection, leaving.places, leaving.traces)


def _mailbox(connection: Connection, leaving: Leaving) -> None:
    forget_messages(connection, leaving.own, [leaving.user_id])


def _document(connection: Connection, leaving: Leaving) -> None:
    connection.execute(delete(User).where(User.id == leaving.user_id))


# whoever ends a batch locks its campaign first, so campaigns come before batches
ERASERS: tuple[Eraser, ...] = (
    _texts,
    _owned,
    _outcomes,
    _wishes,
    _history,
    _suppression,
    _log,
    _notes,
    _credentials,
    _recent,
    _mailbox,
    _document,
)
