"""The form of an address of ours that has a token in it, such as `bounce+{token}@example.com`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

import idna

PLACE = "{token}"
LONGEST_TOKEN = 48  # characters of the token of every campaign that was accepted
LONGEST_LOCAL_PART = 64  # octets: RFC 5321 section 4.5.3.1.1
LONGEST_ADDRESS = 254  # with its brackets, a path may have 256: section 4.5.3.1.3

_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_APART = re.compile(r"(?:[^A-Za-z0-9]|^)\{token\}(?:[^A-Za-z0-9]|$)")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ReturnAddress:
    """An address with a place for a token: what stands `before` it, and what stands `after` it with the domain."""

    before: str
    after: str

    @classmethod
    def parse(cls, text: str) -> ReturnAddress:
        """Read such as `bounce+{token}@example.com`. Raises ValueError, in words for people."""
        local, _, domain = text.strip().rpartition("@")
        domain = _in_ascii(domain)
        if local.count(PLACE) != 1 or PLACE in domain:
            raise ValueError("Needs {token} once, before the @, as in bounce+{token}@example.com.")
        if len(domain) > LONGEST_ADDRESS or not all(map(_LABEL.fullmatch, domain.split("."))):
            raise ValueError("Has no domain after the @ that mail can be sent to.")
        if not _LOCAL_PART.fullmatch(local.replace(PLACE, "x")):
            raise ValueError("Has a character before the @ that an address has only between quotation marks.")
        if not _APART.search(local):
            raise ValueError("Needs a character such as + or - between {token} and a letter or digit beside it.")
        _refuse_long(local, domain)
        before, _, after = local.partition(PLACE)
        return cls(before, f"{after}@{domain}")

    def address(self, token: str) -> str:
        """The address with this token."""
        return f"{self.before}{token}{self.after}"

    def fits(self, token: str) -> bool:
        """Whether that is an address of a length that every server takes."""
        return len(self.before) + len(token) + self.after.index("@") <= LONGEST_LOCAL_PART

    def __str__(self) -> str:
        """As it is written in the setting."""
        return self.address(PLACE)


def _in_ascii(domain: str) -> str:
    """An international domain as its A-labels (RFC 5891); as it is where that cannot be."""
    try:
        return domain if domain.isascii() else idna.encode(domain, uts46=True).decode()
    except ValueError:
        return domain


def _refuse_long(local: str, domain: str) -> None:
    others = len(local) - len(PLACE)
    room = LONGEST_LOCAL_PART - LONGEST_TOKEN
    if others > room:
        raise ValueError(
            f"Has {others} characters before the @ besides {PLACE}: there is room for {room}, as a token has "
            f"{LONGEST_TOKEN} and no server must take more than {LONGEST_LOCAL_PART}."
        )
    if others + LONGEST_TOKEN + 1 + len(domain) > LONGEST_ADDRESS:
        raise ValueError(f"Is longer than the {LONGEST_ADDRESS} characters that an address may have.")
