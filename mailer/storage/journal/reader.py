"""Read a journal: the files of all processes, in the order in which they were begun."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mailer.errors import InvalidState
from mailer.storage.journal.writer import SUFFIX, Wished


class Entry(NamedTuple):
    """A wish of `at` (ms since 1970), about a user or hashes of addresses, and the fingerprint of the key of these.

    The rest is by what `means` it came about, `who` else did it, and in which campaign or by which list (`source`).
    """

    wish: Wished
    at: int
    user_id: str | None
    hashes: Sequence[str]
    key: str
    means: str | None = None
    who: str | None = None
    campaign_id: str | None = None
    source: str | None = None


class AcceptedEntry(NamedTuple):
    """A campaign that was accepted at `at` (ms since 1970); the rest is as `Journal.accepted` takes it."""

    campaign_id: str
    caller_id: str
    at: int
    dry: bool
    key: str | None
    said: Sequence[str | None]


@dataclass(slots=True)
class Read:
    """What journals say: pairs of a campaign's and a user's id that were sent, wishes, and how many lines are broken.

    `times` has the first and the last moment at which something of a campaign was sent, in ms since 1970. `revoked` has
    the digests of tokens. A process that was killed, or a full disk, leaves half a line behind.
    """

    sent: set[tuple[str, str]] = field(default_factory=set)
    times: dict[str, tuple[int, int]] = field(default_factory=dict)
    accepted: list[AcceptedEntry] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)
    wishes: list[Entry] = field(default_factory=list)
    broken: int = 0


def read(folders: Iterable[Path]) -> Read:
    """Read all files of these folders. Raises `InvalidState` for a folder without any, and `OSError`."""
    found = Read()
    for folder in folders:
        paths = sorted(folder.glob(f"*{SUFFIX}"))
        if not paths:
            raise InvalidState(f"{folder}: has no file of a journal")
        for path in paths:
            _read_file(path, found)
    return found


def _read_file(path: Path, found: Read) -> None:
    key = ""
    for line in _lines(path):
        try:
            entry = json.loads(line)
            key = entry["key"] if "journal" in entry else key
            _take(entry, key, found)
        except (ValueError, KeyError, TypeError):
            found.broken += 1


def _take(entry: dict[str, Any], key: str, found: Read) -> None:
    if "s" in entry:
        found.sent.update((str(entry["c"]), str(user_id)) for user_id in entry["s"])
        if "at" in entry:
            first, last = found.times.get(entry["c"], (entry["at"], entry["at"]))
            found.times[entry["c"]] = (min(first, int(entry["at"])), max(last, int(entry["at"])))
    elif "w" in entry:
        why = (entry.get(name) for name in ("m", "b", "c", "l"))
        found.wishes.append(Entry(Wished(entry["w"]), int(entry["at"]), entry.get("u"), entry.get("a", ()), key, *why))
    elif "n" in entry:
        facts = (str(entry["n"]), str(entry["by"]), int(entry["at"]), bool(entry["dry"]))
        found.accepted.append(AcceptedEntry(*facts, entry.get("k"), entry["f"]))
    elif "r" in entry:
        found.revoked.update(map(str, entry["r"]))


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file
