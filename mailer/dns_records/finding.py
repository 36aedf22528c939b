"""What was found in the DNS about one thing, in words a person can act on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

TEXT = "TXT"
STRING = 255  # octets that one string of a TXT record holds (RFC 1035 section 3.3.14)


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"  # mail arrives without it; worth a thought
    WRONG = "wrong"  # receivers refuse or distrust mail because of it
    UNKNOWN = "unknown"  # the DNS did not answer, so nobody can tell


class Publish(NamedTuple):
    """A record that would mend it: its full name, its type and its value."""

    name: str
    type: str
    value: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about `what`, such as SPF. `publish` is the record to publish, or None where none would help."""

    what: str
    level: Level
    says: str
    publish: Publish | None = None


def worst(findings: Iterable[Finding]) -> Level:
    """The level of the whole. What is wrong for certain counts more than what nobody can tell."""
    levels = {finding.level for finding in findings}
    return next((level for level in (Level.WRONG, Level.UNKNOWN) if level in levels), Level.OK)


def in_strings(value: str) -> str:
    """A TXT value as a zone file has it: in quotes, a long one in several strings, which readers join again."""
    escaped = [value[start : start + STRING] for start in range(0, len(value), STRING)] or [""]
    return " ".join('"' + one.replace("\\", "\\\\").replace('"', '\\"') + '"' for one in escaped)
