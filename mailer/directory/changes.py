"""What a file or a caller says about one user, combined with what is stored about them. Pure.

What is not named stays as it is: an import that brings a list of names must not erase addresses, nor make somebody
active again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import Any

from mailer.directory.merge_patch import merged
from mailer.files.cells import plain_address
from mailer.messages.addresses import comparable, envelope_address
from mailer.storage.erased.key import Of, digest
from mailer.text import is_storable


class Mode(Enum):
    """What happens to the fields of a known user that a file or a caller does not name."""

    MERGE = "merge"  # they stay
    REPLACE = "replace"  # they are removed, except for `active`, which every document has


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of a table: its fields, where None clears a field, and its addresses, first the one to write to.

    Addresses stand apart from the fields, since a column of them does not say what is known of each, such as whether it
    is verified. `addresses` None: there is no such column, or its cell is empty. No addresses in it: they are cleared.
    """

    fields: dict[str, Any]
    addresses: Sequence[str] | None = None


def combined(known: Mapping[str, Any] | None, given: object, mode: Mode) -> object:
    """The document to check and store, of the `known` one (None: a new user) and `given`, a document or a `TableRow`.

    When a document is merged, null removes a field (RFC 7396); when it replaces, null is a value. `active` cannot be
    removed: there null stays, and the check refuses it.
    """
    document: object = given.fields if isinstance(given, TableRow) else given
    if not isinstance(document, dict):
        return document
    if mode is Mode.MERGE:
        result = merged(known or {}, document)
    else:
        result = {key: value for key, value in document.items() if value is not None or not isinstance(given, TableRow)}
    if isinstance(given, TableRow) and given.addresses is not None:
        result["emails"] = _emails(result.get("emails") if mode is Mode.MERGE else None, given.addresses)
    if "active" in document:
        result["active"] = document["active"]
    elif known:
        result["active"] = known["active"]
    return result


def address_of(given: object) -> str:
    """The first address in `given` as `addresses.comparable` has it; "": there is none.

    An invalid address is taken as it stands: it still tells one user from another.
    """
    text: object = None
    if isinstance(given, TableRow):
        text = given.addresses[0] if given.addresses else None
    elif isinstance(given, dict):
        emails = given.get("emails")
        first = emails[0] if isinstance(emails, list) and emails else None
        text = first.get("address") if isinstance(first, dict) else None
    return _comparable(text) if isinstance(text, str) and is_storable(text) else ""


def derived_id(key: bytes, address: str) -> str:
    """The id for a user who came without one: a digest of the address, so always the same, and not to be guessed."""
    return f"mail-{digest(key, Of.NEW_ID, address)[:20]}"


def old_derived_id(address: str) -> str:
    """The same as it was made before there was a key. Whoever has such an id keeps it."""
    return f"mail-{sha256(address.encode()).hexdigest()[:20]}"


def addresses_in(document: object) -> set[str]:
    """All addresses of a user document, checked or not, as `addresses.comparable` has them."""
    emails = document.get("emails") if isinstance(document, Mapping) else None
    entries = emails if isinstance(emails, list) else []
    texts = [entry.get("address") for entry in entries if isinstance(entry, Mapping)]
    return {_comparable(text) for text in texts if isinstance(text, str) and is_storable(text)} - {""}


def _comparable(text: str) -> str:
    plain = plain_address(text)
    return comparable(envelope_address(plain) or plain)


def _emails(known: object, addresses: Sequence[str]) -> list[dict[str, Any]]:
    """The list `emails` with these addresses first. What is known of them stays; the one that was first before goes."""
    entries = [entry for entry in known if isinstance(entry, dict)] if isinstance(known, list) else []
    if not addresses or (entries and list(addresses) == [entries[0].get("address")]):
        return entries if addresses else []
    by_address: dict[object, dict[str, Any] | None] = {_key(entry.get("address")): dict(entry) for entry in entries}
    first = [by_address.pop(_key(address), None) or {"address": address} for address in addresses]
    replaced = _key(entries[0].get("address")) if entries else None
    return [*first, *(entry for key, entry in by_address.items() if entry and key != replaced)]


def _key(address: object) -> object:
    return comparable(plain_address(address)) if isinstance(address, str) and is_storable(address) else address
