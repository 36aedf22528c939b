"""What an operator does about one person: unsubscribe, subscribe again, block, lift. Each with a note."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from mailer.audit.actor import current_actor
from mailer.audit.log import Note
from mailer.campaigns.people.person import Person, person
from mailer.errors import InvalidState
from mailer.storage.database import Database
from mailer.suppression.blocked_addresses import block
from mailer.suppression.list_files import ListedAddress
from mailer.suppression.suppressed_addresses import lift
from mailer.suppression.unsubscribes import resubscribe, unsubscribe

NO_REASON = "(no reason given)"


class Action(StrEnum):
    """What can be done about a person."""

    UNSUBSCRIBE = "unsubscribe"  # their wish
    SUBSCRIBE = "subscribe"  # their wish as well
    BLOCK = "block"  # the operator's own decision about the address
    LIFT = "lift"  # of the address, whether refusals or an operator had it suppressed


def act(db: Database, name: str, action: Action, note: str, *, merged: bool = False) -> str:
    """Do it about the user with this id or user name, and return the id. `note` says why.

    With `merged`, users who share an address subscribe again together. Raises `NotFound`, and `InvalidState` for an
    address where there is none.
    """
    found = person(db, name)
    if action is Action.SUBSCRIBE:
        resubscribe(db, found.user.id, merged=merged, note=note)
    else:
        _ACTS[action](db, found, note)
    return found.user.id


def possible(found: Person) -> frozenset[Action]:
    """What changes anything about a person as they are now."""
    refusal = found.refusal
    wish = Action.UNSUBSCRIBE if found.unsubscription is None else Action.SUBSCRIBE
    changing = {wish}
    if found.user.email is not None and (refusal is None or refusal.blocked_by is None):
        changing.add(Action.BLOCK)
    if refusal is not None and refusal.suppressed_at is not None:
        changing.add(Action.LIFT)
    return frozenset(changing)


def _unsubscribe(db: Database, found: Person, note: str) -> None:
    unsubscribe(db, found.user.id, note=note)


def _block(db: Database, found: Person, note: str) -> None:
    listed = [ListedAddress(_address(found))]
    noted = Note(found.user.id, note)
    block(db, listed, by=current_actor().who, reason=note.strip() or NO_REASON, note=noted)


def _lift(db: Database, found: Person, note: str) -> None:
    lift(db, [_address(found)], note=Note(found.user.id, note))


def _address(found: Person) -> str:
    if found.user.email is None:
        raise InvalidState("This person has no address that could be blocked or lifted.")
    return found.user.email


_ACTS: Mapping[Action, Callable[[Database, Person, str], None]] = {
    Action.UNSUBSCRIBE: _unsubscribe,
    Action.BLOCK: _block,
    Action.LIFT: _lift,
}
