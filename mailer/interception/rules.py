"""Whom mail may reach at all: everybody, one address instead of everybody, or only some. Pure.

An address is compared in its envelope form with ASCII letters in lower case. An `@domain` is that domain alone, without
those below it. Whatever cannot be read as an address is reached by nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mailer.errors import ConfigError
from mailer.messages.addresses import comparable, envelope_address
from mailer.settings import Settings

MOST_REDIRECTED = 50  # messages of one campaign
REDIRECTED = "MAILER_REDIRECT_TO: "  # how the reply on record begins where a message went to that address
NOT_LISTED = "Not sent: MAILER_ONLY_TO does not name this address."
ENOUGH = f"Not sent: MAILER_REDIRECT_TO takes {MOST_REDIRECTED} messages of a campaign, and they have gone."


@dataclass(frozen=True, slots=True)
class Interception:
    """`redirect_to` gets every message, in envelope form. If it is empty, only those in `only_to` get theirs.

    `only_to` has addresses and `@domain`s in comparable form. Both empty: everybody gets their mail.
    """

    redirect_to: str = ""
    only_to: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.redirect_to or self.only_to)

    def reaches(self, address: str) -> bool:
        """Whether mail to the recipient with this address is sent, to them or elsewhere."""
        if not self.only_to:
            return True
        known = comparable(address) if address == envelope_address(address) else ""
        return bool(known) and not self.only_to.isdisjoint((known, known[known.rindex("@") :]))


EVERYBODY = Interception()


def interception(settings: Settings) -> Interception:
    """Read `MAILER_REDIRECT_TO` and `MAILER_ONLY_TO`. Raises `ConfigError` for what is no address."""
    redirect_to = envelope_address(settings.redirect_to) if settings.redirect_to else ""
    if redirect_to is None:
        raise ConfigError(f"MAILER_REDIRECT_TO: {settings.redirect_to!r}: not an address")
    return Interception(redirect_to, _rules(settings.only_to))


def _rules(entries: Sequence[str]) -> frozenset[str]:
    return frozenset(map(_rule, entries))


def _rule(entry: str) -> str:
    somebody = "x" if entry.startswith("@") else ""
    found = envelope_address(somebody + entry)
    if found is None:
        raise ConfigError(f"MAILER_ONLY_TO: {entry!r}: neither an address nor an @domain")
    return comparable(found).removeprefix(somebody)
