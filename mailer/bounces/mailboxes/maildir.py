"""A Maildir: a mail is a file in `new`, and in `cur` with its flags behind the name once somebody has seen it.

Two readers at once do no harm: whoever renames second finds the file gone, and the recorder knows the reports.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from typing_extensions import override

from mailer.bounces.mailboxes.base import LARGEST, Mailbox, MailboxUnavailable, Waiting

INFO = ":2,"  # what stands between a name and its flags
SEEN, FLAGGED = "S", "F"
HANDLED = frozenset("SFTR")  # seen, flagged, trashed, replied to: somebody has dealt with it
POLL_SECONDS = 2.0


class Maildir(Mailbox):
    """The Maildir at `path`, which has to exist. With `delete` a mail that is done is deleted."""

    def __init__(self, path: str, *, delete: bool = False) -> None:
        self._path = Path(path)
        self._delete = delete
        for folder in ("new", "cur"):
            if not (self._path / folder).is_dir():
                raise MailboxUnavailable(f"{path}: no Maildir, since it has no folder {folder}")

    @override
    def waiting(self) -> Iterator[Waiting]:
        """Those in `new`, and those in `cur` that a mail program has moved there and nobody has dealt with."""
        for name in self._names():
            try:
                size = (self._path / name).stat().st_size
                raw = (self._path / name).read_bytes() if size <= LARGEST else None
            except FileNotFoundError:  # another reader was faster
                continue
            except OSError as error:
                raise self._trouble(error) from error
            yield Waiting(name, raw)

    @override
    def done(self, mail: Waiting) -> None:
        """Delete it, or move it to `cur`, flagged as seen."""
        if not self._delete:
            self._move(mail.key, SEEN)
            return
        try:
            (self._path / mail.key).unlink(missing_ok=True)
        except OSError as error:
            raise self._trouble(error) from error

    @override
    def set_aside(self, mail: Waiting) -> None:
        """Move it to `cur`, flagged as important, which mail programs show."""
        self._move(mail.key, FLAGGED)

    @override
    def wait(self, seconds: float) -> None:
        """Look again every two seconds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._names():
            time.sleep(min(POLL_SECONDS, seconds))

    def _names(self) -> list[str]:
        """The files that wait, with their folder, by the time in their names."""
        try:
            new = [f"new/{one.name}" for one in (self._path / "new").iterdir() if not one.name.startswith(".")]
            seen = [f"cur/{one.name}" for one in (self._path / "cur").iterdir() if not one.name.startswith(".")]
        except OSError as error:
            raise self._trouble(error) from error
        return sorted([*new, *(name for name in seen if not HANDLED & set(_flags(name)))], key=lambda name: name[4:])

    def _move(self, name: str, flag: str) -> None:
        flags = "".join(sorted({*_flags(name), flag}))
        base = name.partition("/")[2].partition(INFO)[0]
        try:
            with suppress(FileNotFoundError):
                (self._path / name).rename(self._path / "cur" / f"{base}{INFO}{flags}")
        except OSError as error:
            raise self._trouble(error) from error

    def _trouble(self, error: OSError) -> MailboxUnavailable:
        return MailboxUnavailable(f"{self._path}: {error.strerror or error}")


def _flags(name: str) -> str:
    return name.partition(INFO)[2]
