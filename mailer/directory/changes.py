"""What a file or a caller says about a user, joined with what is known of them. Pure.

Whoever is not named stays as they are, and so does every field that is not named: an import that brings a list of names
must not erase addresses, nor make somebody active again.
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
from mailer.text import is_storable


class Mode(Enum):
    """What becomes of the fields that are not named."""

    MERGE = "merge"  # they stay
    REPLACE = "replace"  # they go; only `active`, which every document has, stays as it was


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of a table: its fields, None for one to be cleared, and the addresses, first the one to write to.

    Addresses stand apart because a column of them does not say what else is known of the user's others. None: there is
    no such column, or the cell is empty; nothing in it: to be cleared.
    """

    fields: dict[str, Any]
    addresses: Sequence[str] | None = None


def combined(known: Mapping[str, Any] | None, given: object, mode: Mode) -> object:
    """The document to be checked and stored for what is `known` (None: nobody) and `given`, a document or `TableRow`.

    In a document null removes a field when it is merged (RFC 7396), and is a value when it replaces. `active` cannot
    be removed: null stays, to be refused.
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
    """The address that `given` would be written to, as `addresses.comparable` has it; "": there is none.

    What is no valid address is told apart by its text: it is somebody's all the same.
    """
    text: object = None
    if isinstance(given, TableRow):
        text = given.addresses[0] if given.addresses else None
    elif isinstance(given, dict):
        emails = given.get("emails")
        first = emails[0] if isinstance(emails, list) and emails else None
        text = first.get("address") if isinstance(first, dict) else None
    plain = plain_address(text) if isinstance(text, str) and is_storable(text) else ""
    return comparable(envelope_address(plain) or plain)


def derived_id(address: str) -> str:
    """The id of a user who has none: always the same for an address in comparable form, and does not show it."""
    return f"mail-{sha256(address.encode()).hexdigest()[:20]}"


def _emails(known: object, addresses: Sequence[str]) -> list[dict[str, Any]]:
    """These addresses first, with what is known of them, then the others but the one that was first."""
    entries = [entry for entry in known if isinstance(entry, dict)] if isinstance(known, list) else []
    if not addresses or (entries and list(addresses) == [entries[0].get("address")]):
        return entries if addresses else []
    by_address: dict[object, dict[str, Any] | None] = {_key(entry.get("address")): dict(entry) for entry in entries}
    first = [by_address.pop(_key(address), None) or {"address": address} for address in addresses]
    replaced = _key(entries[0].get("address")) if entries else None
    return [*first, *(entry for key, entry in by_address.items() if entry and key != replaced)]


def _key(address: object) -> object:
    return comparable(plain_address(address)) if isinstance(address, str) and is_storable(address) else address
