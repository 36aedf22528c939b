"""Write the journal: files that are only appended to, one line of JSON an entry, on the disk before anybody goes on.

Each process has a file of its own. It begins another when one is large or old, and deletes those that are older than
their retention. A line has ids and hashes, and no address. Addresses are hashed under the key of the database, as those
of the erased are, so whoever has the journal alone cannot try addresses out.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailer.errors import JournalUnavailable
from mailer.logs.masking import without_addresses
from mailer.storage.erased.key import Of, digest, key_of

if TYPE_CHECKING:
    from mailer.storage.database import Database

SUFFIX = ".journal"
LARGEST = 16 * 1024 * 1024  # bytes, after which another file is begun
OLDEST = 86_400.0  # seconds, the same
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


Why = Mapping[str, str | None]  # by what `means` a wish came about, `who` else did it, in which `campaign_id`, `source`
_SHORT = {"means": "m", "who": "b", "campaign_id": "c", "source": "l"}  # as a line has them


class Wished(StrEnum):
    """What was wished. The last three take back: they are written after their commit, the others before theirs."""

    UNSUBSCRIBE = "unsubscribe"
    BLOCK = "block"
    ERASE = "erase"
    DEACTIVATE = "deactivate"
    SUBSCRIBE = "subscribe"
    LIFT = "lift"
    ACTIVATE = "activate"


class Journal:
    """The journal in `folder`, which is made when it is needed; `keep` is its retention in seconds.

    Threads and forked processes may share the object. What is written is on the disk when the call returns.
    """

    def __init__(
        self, folder: Path, key: bytes, keep: float, *, largest: int = LARGEST, oldest: float = OLDEST
    ) -> None:
        self.folder = folder
        self._key = key
        self._keep, self._largest, self._oldest = keep, largest, oldest
        self._lock = threading.Lock()
        self._fd = self._pid = -1
        self._size, self._begun = 0, 0.0

    def sent(self, campaign_id: str, user_ids: Sequence[str]) -> None:
        """Write that these users of a campaign were sent to. Raises `OSError`."""
        self._append(_line({"c": campaign_id, "s": list(user_ids), "at": int(time.time() * 1000)}))

    def accepted(
        self, campaign_id: str, caller_id: str, at: int, *, dry: bool, key: str | None, said: Sequence[str | None]
    ) -> None:
        """Write that a campaign is accepted at `at` (ms since 1970), before its commit.

        `key` is the digest of the caller's Idempotency-Key, and `said` has the fingerprints of the draft: that by which
        it is known without a key, and that of the key. Raises `JournalUnavailable`: then it is not to be accepted.
        """
        line = {"n": campaign_id, "by": caller_id, "at": at, "dry": dry, "k": key, "f": list(said)}
        self._require(_line({name: value for name, value in line.items() if value is not None}))

    def revoked(self, at: int, digests: Sequence[str]) -> None:
        """Write, before the commit, that the tokens with these digests end. Raises `JournalUnavailable`."""
        if digests:
            self._require(_line({"r": list(digests), "at": at}))

    def wish(
        self, wish: Wished, at: int, user_id: str | None = None, addresses: Iterable[str] = (), why: Why | None = None
    ) -> None:
        """Write a wish of `at` (ms since 1970), about a user, or addresses as `addresses.comparable` has them.

        Raises `JournalUnavailable` where it cannot be written: then the wish is not to be acknowledged.
        """
        self.wishes(wish, at, [(user_id, addresses)], why)

    def wishes(
        self, wish: Wished, at: int, whose: Iterable[tuple[str | None, Iterable[str]]], why: Why | None = None
    ) -> None:
        """The same for many, each a user's id, addresses, or both."""
        lines = b"".join(_line({**self._wish(wish, at, *one), **_because(why)}) for one in whose)
        if lines:
            self._require(lines)

    def _require(self, lines: bytes) -> None:
        try:
            self._append(lines)
        except OSError as error:
            raise JournalUnavailable(f"{self.folder}: {error.strerror or error}") from error

    def trouble(self) -> str | None:
        """Why nothing can be written to it; None: it was tried, and works. A file without entries stays."""
        try:
            self._append(b"")
        except OSError as error:
            return f"{self.folder}: {error.strerror or error}"
        return None

    def _wish(self, wish: Wished, at: int, user_id: str | None, addresses: Iterable[str]) -> Mapping[str, Any]:
        hashes = [digest(self._key, Of.ADDRESS, one) for one in addresses]
        whose: dict[str, Any] = {} if user_id is None else {"u": user_id}
        return {"w": wish.value, "at": at, **whose, **({"a": hashes} if hashes else {})}

    def _append(self, lines: bytes) -> None:
        with self._lock:
            if self._is_over():
                self._begin()
            written = os.write(self._fd, lines)
            if written != len(lines):  # the disk is full; the reader leaves out the half line
                self._size = self._largest
                raise OSError("no room for the journal")
            os.fdatasync(self._fd)
            self._size += written

    def _is_over(self) -> bool:
        return self._pid != os.getpid() or self._size >= self._largest or time.time() - self._begun > self._oldest

    def _begin(self) -> None:
        """Begin another file. Its name says when, so that files are in order by name."""
        if self._pid == os.getpid():
            os.close(self._fd)
            self._pid = -1
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{time.time_ns() // 1_000_000:013d}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        self._fd = os.open(self.folder / name, FLAGS, 0o600)
        self._pid, self._size, self._begun = os.getpid(), 0, time.time()
        os.write(self._fd, _line({"journal": 1, "key": fingerprint(self._key)}))
        os.fsync(self._fd)
        _sync(self.folder)
        self._forget()

    def _forget(self) -> None:
        for path in self.folder.glob(f"*{SUFFIX}"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > self._keep:
                    path.unlink()


def journal_at(db: Database, folder: str, keep: int) -> Journal | None:
    """The journal of a database in `folder`; None where that is empty. `keep` is its retention in seconds.

    The key is made now if there is none, so that every backup from here on knows the hashes.
    """
    return Journal(Path(folder), key_of(db), keep) if folder else None


def fingerprint(key: bytes) -> str:
    """By what a journal knows the key under which it hashes."""
    return hashlib.sha256(key).hexdigest()[:16]


def _because(why: Why | None) -> Mapping[str, str]:
    """A wish's cause, as a line has it. The name of a list may have an address in it, and a line has none."""
    return {_SHORT[name]: without_addresses(value) for name, value in (why or {}).items() if value is not None}


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
