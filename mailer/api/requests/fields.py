"""Fields of requests and answers: which spellings of a value are taken, and how a value is written."""

from __future__ import annotations

import math
from typing import Any

from marshmallow import ValidationError, fields

from mailer.audience.bounds import MOST
from mailer.audience.named_addresses import MOST as MOST_NAMED
from mailer.messages.addresses import comparable, envelope_address, parse_mailbox
from mailer.text import is_one_line, is_storable
from mailer.times import from_iso, to_iso


def one_line(text: str) -> None:
    """Refuse control characters, line separators and lone surrogates."""
    if not is_one_line(text):
        raise ValidationError("Has a control character, a line break or half a character.")


def storable(text: str) -> None:
    """Refuse what neither UTF-8 nor PostgreSQL can hold."""
    if not is_storable(text):
        raise ValidationError("Has a NUL or half a character.")


class WireBoolean(fields.Field[bool]):
    """A JSON boolean, the number 1 or 0, or the strings "true" and "false" in any case; null counts as absent."""

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> bool:
        if isinstance(value, bool | int | float) and value in (0, 1):
            return bool(value)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise ValidationError('Neither a boolean nor "true" or "false".')


class WireString(fields.String):
    """Text; a JSON number is taken as its text, as Rocket.Chat's server does."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            value = str(int(value) if value == int(value) else value)
        return super()._deserialize(value, *args, **kwargs)


class WireAddress(WireString):
    """An address, bare; the value is in the form that an envelope takes."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        address = envelope_address(super()._deserialize(value, *args, **kwargs))
        if address is None:
            raise ValidationError("Is no valid address.")
        return address


class WireMailbox(WireString):
    """An address, bare or as `Name <address>`; the value is a `Mailbox`."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        try:
            return parse_mailbox(text)
        except ValueError as error:
            raise ValidationError("Neither an email address nor `Name <address>`.") from error


class WireAddresses(fields.Field[list[str]]):
    """A list of bare addresses, or text in which commas divide them; each is taken once, in its envelope form.

    Null, and a list of nobody, are refused: the message would go to somebody else than was meant.
    """

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> list[str]:
        given = value.split(",") if isinstance(value, str) else value
        if not isinstance(given, list) or not 0 < len(given) <= MOST_NAMED:
            raise ValidationError(f"Not a list of 1 to {MOST_NAMED} addresses.")
        found: dict[str, str] = {}
        for one in given:
            address = envelope_address(one.strip()) if isinstance(one, str) else None
            if address is None:
                raise ValidationError("Has something that is no email address.")
            found.setdefault(comparable(address), address)
        return list(found.values())


class FormText(str):
    """A field of a form. Text is all that a form can hold: an empty one may have meant something else."""

    __slots__ = ()


class QueryString(fields.String):
    """A selector as JSON text; empty in JSON means absent, as for Rocket.Chat, but in a form it may be a mistake."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, FormText) and not value.strip():
            raise ValidationError("Is empty; leave it out to write to everybody.")
        return super()._deserialize(value, *args, **kwargs)


class WireCount(fields.Field[int]):
    """How many of something: a whole number from 0 on, as a number or as its digits, since a form has only text.

    Null is refused: it may be a variable that was never set.
    """

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> int:
        text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST)) and int(text) <= MOST):
            raise ValidationError(f"Not a whole number from 0 to {MOST}.")
        return int(text)


class Milliseconds(fields.Field[int]):
    """Milliseconds since 1970 as ISO 8601 in UTC; read from any ISO 8601 date or time."""

    def _serialize(self, value: int | None, *_args: Any, **_kwargs: Any) -> str | None:
        return None if value is None else to_iso(value)

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> int:
        try:
            return from_iso(str(value))
        except (ValueError, OverflowError) as error:
            raise ValidationError("Not a time as ISO 8601 has it.") from error
