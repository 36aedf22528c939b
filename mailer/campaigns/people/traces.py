"""What the audit log tells of somebody at a time in the past: whether their address was suppressed, and who they were.

A suppression that was lifted has no row any more, and the directory has no history. The log knows each act about a few
addresses and about one user. It does not know whom a long list, an import or a sync concerned. So an answer says
whether it is certain.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, select

from mailer.audit.log import Act, Entry, names_in
from mailer.campaigns.people.person import WrittenNote
from mailer.storage.models import AuditEntry
from mailer.times import to_iso

ACTS = 200  # read of one person, the latest
_OF_ADDRESS = (Act.BLOCK_ADDRESSES, Act.LIFT_ADDRESSES)
_OF_USER = (Act.PUT_USER, Act.CHANGE_USER, Act.DEACTIVATE_USER)
_OF_MANY = {_OF_ADDRESS: (Act.LIFT_ADDRESSES,), _OF_USER: (Act.IMPORT_USERS, Act.SYNC_USERS)}


@dataclass(frozen=True, slots=True)
class Told:
    """A sentence about how it was then. Not `certain`: something since, that names nobody, may have changed it."""

    text: str
    certain: bool


def suppressed(connection: Connection, address: str, then: int, notes: Sequence[WrittenNote]) -> Told | None:
    """How the address came to be suppressed at `then` (ms since 1970); None: the log knows of nothing.

    The reason of a block stands in the person's `notes`, if it was made on their page or by their name.
    """
    acts = _acts(connection, _OF_ADDRESS, names_in(connection, address))
    lifted = next((one for one in reversed(acts) if one.act == Act.LIFT_ADDRESSES and one.at >= then), None)
    if lifted is not None and lifted.details.get("since", then) < then:
        return Told(_until_lifted(lifted, notes), certain=True)
    before = next((one for one in acts if one.at < then), None)
    if before is None or before.act != Act.BLOCK_ADDRESSES:
        return None
    why, when = _reason(notes, before.at), _when(before.at)
    text = f"Their address was blocked by {before.who}, {when}: {why}"
    if why is None:
        text = f"Their address was blocked by {before.who}, {when}."
    return Told(text, certain=not _many_since(connection, _OF_ADDRESS, before.at, then))


def _until_lifted(lifted: Entry, notes: Sequence[WrittenNote]) -> str:
    was, since, until = lifted.details, _when(lifted.details["since"]), _when(lifted.at)
    if "blocked" not in was:
        return f"Their address was suppressed from {since} until {until}, refused in {was['campaigns']} campaigns."
    why = _reason(notes, was["since"])
    if why is None:
        return f"Their address was suppressed from {since} until {until}, blocked by {was['blocked']}."
    return f"Their address was suppressed from {since} until {until}, blocked by {was['blocked']}: {why}"


def _reason(notes: Sequence[WrittenNote], at: int) -> str | None:
    """What was written down when the address was blocked at that time."""
    return next((one.note for one in notes if one.act == Act.BLOCK_ADDRESSES and one.at == at), None)


def unreachable(connection: Connection, user_id: str, then: int) -> tuple[str, Told] | None:
    """What of the user kept mail from them at `then` (ms since 1970), `active` or `address`, and how it came about.

    None: the log knows of nothing.
    """
    last = next((one for one in _acts(connection, _OF_USER, (user_id,)) if one.at < then), None)
    if last is None:
        return None
    certain = not _many_since(connection, _OF_USER, last.at, then)
    if last.details.get("active") is False:
        return "active", Told(f"They were inactive: deactivated by {last.who}, {_when(last.at)}.", certain)
    if last.details.get("address") is False:
        return "address", Told(f"They had no valid address: changed by {last.who}, {_when(last.at)}.", certain)
    return None


def changed_after(connection: Connection, user_id: str, then: int, *, what: str) -> bool:
    """Whether the user, as far as the log knows, lost what is told under `what` only after `then` (ms since 1970)."""
    losses = (one for one in _acts(connection, _OF_USER, (user_id,)) if one.details.get(what) is False)
    return next((one.at > then for one in losses), False)


def created_after(connection: Connection, user_id: str, then: int) -> bool:
    """Whether the log has the user's first document after `then` (ms since 1970)."""
    acts = _acts(connection, _OF_USER, (user_id,))
    return any(one.details.get("created") is True and one.at > then for one in acts)


def _acts(connection: Connection, acts: Collection[Act], about: Sequence[str]) -> list[Entry]:
    """The latest acts about it, the latest first."""
    wanted = (AuditEntry.about.in_(about), AuditEntry.act.in_([act.value for act in acts]))
    columns = [getattr(AuditEntry, name) for name in Entry._fields[:-1]]
    rows = connection.execute(select(*columns).where(*wanted).order_by(AuditEntry.id.desc()).limit(ACTS))
    return [Entry._make((*row, None)) for row in rows]


def _many_since(connection: Connection, of: tuple[Act, ...], since: int, then: int) -> bool:
    """Whether something in between that names nobody may have changed what an act about one had brought."""
    acts: ColumnElement[bool] = AuditEntry.act.in_([act.value for act in _OF_MANY[of]])
    within = (AuditEntry.about.is_(None), AuditEntry.at >= since, AuditEntry.at < then)
    return connection.scalar(select(AuditEntry.id).where(acts, *within).limit(1)) is not None


def _when(milliseconds: int) -> str:
    return to_iso(milliseconds, precision="seconds")
