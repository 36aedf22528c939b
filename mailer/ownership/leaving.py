"""A user is deactivated: their tokens end for good, and their open campaigns are paused or go on.

Whichever way they are deactivated, it is done in the transaction of that change. A token that ended stays dead when the
user comes back: somebody has to make a new one. Services are no users, so nothing here concerns them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, delete, not_, select, union, update

from mailer.audit.log import Act, record
from mailer.storage.journal.writer import Journal
from mailer.storage.models import AuthToken, Campaign, CampaignState, LoginLink, User
from mailer.storage.models.states import ACTIVE, UNFINISHED
from mailer.timeline.events import Kind, happened

REASON = "its owner was deactivated"
SHOWN_DIGEST = 16  # characters of a token's digest that tell it from others
AT_ONCE = 500  # ids in one statement


@dataclass(frozen=True, slots=True)
class Leaving:
    """What became of what deactivated users own: the ids of campaigns that were `paused`, and of those that go on
    (`ongoing`), and how many `tokens` ended. `waiting` are those that were paused before, and need a person as well.
    """

    paused: tuple[str, ...] = ()
    ongoing: tuple[str, ...] = ()
    tokens: int = 0
    waiting: tuple[str, ...] = ()

    def __add__(self, other: Leaving) -> Leaving:
        """Both together."""
        both = (self.paused + other.paused, self.ongoing + other.ongoing, self.tokens + other.tokens)
        return Leaving(*both, self.waiting + other.waiting)

    def notes(self) -> list[str]:
        """A sentence for each thing that somebody should know."""
        notes = [f"paused, since {REASON}: campaign {one}" for one in self.paused]
        notes += [f"was paused before {REASON}, and waits for a new one: campaign {one}" for one in self.waiting]
        notes += [f"goes on although {REASON}: campaign {one}" for one in self.ongoing]
        return [*notes, *([f"{self.tokens} tokens of deactivated users have ended"] if self.tokens else [])]


NOBODY_LEFT = Leaving()


class Owners:
    """The active users who own an open campaign or a token, before many users are changed at once."""

    def __init__(self, connection: Connection) -> None:
        """Look who they are."""
        running = select(Campaign.caller_id).where(Campaign.state.in_(UNFINISHED))
        owners = union(running, select(AuthToken.user_id).where(not_(AuthToken.service)), select(LoginLink.user_id))
        active = select(User.id).where(User.active, User.id.in_(owners.subquery().select()))
        self._active = sorted(connection.scalars(active))

    def settle(self, connection: Connection, now: int, *, pause: bool) -> Leaving:
        """Do as `settle` does for those of them who are not active any more."""
        still: set[str] = set()
        for some in _parts(self._active):
            still |= set(connection.scalars(select(User.id).where(User.active, User.id.in_(some))))
        return settle(connection, [one for one in self._active if one not in still], now, pause=pause)


def settle(connection: Connection, gone: Collection[str], now: int, *, pause: bool) -> Leaving:
    """End the credentials of the users `gone`, and pause their open campaigns at `now` (ms since 1970).

    Without `pause` the campaigns go on. The audit log has each campaign and each token.
    """
    found = NOBODY_LEFT
    for some in _parts(sorted(gone)):
        tokens = end_tokens(connection, AuthToken.user_id.in_(some), now)
        connection.execute(delete(LoginLink).where(LoginLink.user_id.in_(some)))
        campaigns, waiting = _open(connection, some)
        if pause and campaigns:
            _pause(connection, campaigns, now)
        found += Leaving(campaigns, (), tokens, waiting) if pause else Leaving((), campaigns, tokens, waiting)
    return found


def end_left_tokens(connection: Connection, now: int) -> None:
    """End the tokens of all users who are inactive, before they may come back.

    There are such tokens where a version that did not end them has deactivated their user.
    """
    inactive = select(User.id).where(not_(User.active))
    end_tokens(connection, and_(not_(AuthToken.service), AuthToken.user_id.in_(inactive)), now)


def end_tokens(connection: Connection, which: ColumnElement[bool], now: int, journal: Journal | None = None) -> int:
    """Delete the tokens of which `which` holds; return how many they were. The audit log has each, and the journal."""
    columns = (AuthToken.digest, AuthToken.user_id, AuthToken.permissions)
    gone = connection.execute(delete(AuthToken).where(which).returning(*columns)).all()
    if journal is not None:
        journal.revoked(now, [digest.rpartition(":")[2] for digest, _, _ in gone])
    for digest, user_id, permissions in gone:
        record(connection, now, Act.REVOKE_TOKEN, user_id, token=digest[:SHOWN_DIGEST], permissions=permissions)
    return len(gone)


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[begin : begin + AT_ONCE] for begin in range(0, len(ids), AT_ONCE))


def _open(connection: Connection, owners: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Their campaigns that go on by themselves, and those that were paused before."""
    theirs = (Campaign.caller_id.in_(owners), Campaign.state.in_(UNFINISHED))
    locked = select(Campaign.id, Campaign.state).where(*theirs).order_by(Campaign.id).with_for_update(key_share=True)
    rows = connection.execute(locked).all()
    active, waiting = (tuple(row.id for row in rows if (row.state in ACTIVE) is goes) for goes in (True, False))
    return active, waiting


def _pause(connection: Connection, campaign_ids: Sequence[str], now: int) -> None:
    """Pause campaigns, also those that wait to be planned: resuming them goes on with that."""
    for some in _parts(campaign_ids):
        paused = {"state": CampaignState.PAUSED, "reason": REASON}
        connection.execute(update(Campaign).where(Campaign.id.in_(some)).values(**paused))
    for campaign_id in campaign_ids:
        record(connection, now, Act.PAUSE_CAMPAIGN, campaign_id, because=REASON)
        happened(connection, now, Kind.PAUSED, campaign_id, reason=REASON)
