"""`file:DIR` keeps each message in a folder, durably: `?format=eml` (the default), `maildir` or `mbox`.

An outcome is given only after the message and its name are on the disk. Up to `AT_ONCE` messages are made durable
together. A message that is sent again replaces its file (eml) or is recognised: a second copy never appears.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import unquote

from transports import rate_options
from transports.base import About, Message, Outcome, Status, Transport, TransportConfigError, TransportUnavailable
from transports.file.folders import Folder, make_folder, probe_writable
from transports.file.formats import EmlFormat, FileFormat, MaildirFormat
from transports.file.mbox import MboxFormat
from transports.options import Options, shown_options, split_url
from transports.rate import Rate, Rated, in_groups

AT_ONCE = 64  # messages drawn, written and made durable together
FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}", re.ASCII)
FORMATS: dict[str, type[FileFormat]] = {"eml": EmlFormat, "maildir": MaildirFormat, "mbox": MboxFormat}


class FileTransport(Transport, Rated):
    """Keeps messages in `path`, a folder that is created with mode 0700 when only it is missing."""

    def __init__(self, path: Path, form: str = "eml", rate: Rate | None = None) -> None:
        """Raise `TransportConfigError` unless `path` is a folder of its own that can be written."""
        self._path = path.absolute()
        self._rate = rate
        try:
            prepare_folder(self._path)
            with Folder(self._path) as folder:
                probe_writable(folder)
                self._format = FORMATS[form](folder)
        except OSError as error:
            raise TransportConfigError(f"file: {path}: {_reason(error)}") from error

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Build from `file:DIR` (percent-encoded, relative or absolute) with `format` and the options of a rate."""
        parts = split_url(url)
        options = Options(parts.scheme, parts.query, ("format", *rate_options.OPTIONS))
        path = unquote(parts.rest.removeprefix("//"))
        if not path or "\0" in path:
            raise TransportConfigError("file: needs a folder, such as file:./outbox")
        rate = Rate.from_options(options, f"file {Path(path).absolute()}")
        return cls(Path(path), options.choice("format", tuple(FORMATS), "eml"), rate)

    @classmethod
    def shown(cls, url: str) -> str:
        """The URL without the storage of the rate; there is nothing else secret in it."""
        path, _, query = url.strip().partition("?")
        return path + shown_options(query, ("format", *rate_options.SHOWN))

    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        """Store up to `AT_ONCE` messages together, then yield their outcomes.

        Raises `TransportUnavailable` when the folder is gone, full or closed to us; then none of the messages without
        an outcome is left in it.
        """
        for batch in in_groups(messages, self._rate, AT_ONCE):
            try:
                with Folder(self._path) as folder:
                    self._format.store(folder, [message for message in batch if _fits(message)])
            except OSError as error:
                raise TransportUnavailable(f"file: {self._path}: {_reason(error)}") from error
            yield from map(_outcome, batch)

    def check(self) -> None:
        """Raise `TransportUnavailable` when nothing can be written into the folder, or the day's quota is used up."""
        for rate in self.rates():
            rate.check()
        try:
            with Folder(self._path) as folder:
                probe_writable(folder)
        except OSError as error:
            raise TransportUnavailable(f"file: {self._path}: {_reason(error)}") from error

    def rates(self) -> Sequence[Rate]:
        """See `Rated.rates`."""
        return [self._rate] if self._rate else []

    def close(self) -> None:
        """Close what the format holds open."""
        self._format.close()


def prepare_folder(path: Path) -> None:
    """Create `path` if only it is missing. Raises `TransportConfigError` for what must not be written to."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise TransportConfigError(f"file: {path}: its parent folder does not exist") from None
        make_folder(path)
        return
    if stat.S_ISLNK(mode):
        raise TransportConfigError(f"file: {path} is a symbolic link; name the folder itself")
    if not stat.S_ISDIR(mode):
        raise TransportConfigError(f"file: {path} is not a folder")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise TransportConfigError(f"file: {path} is not writable")


def _fits(message: Message) -> bool:
    return FILE_NAME.fullmatch(message.id) is not None


def _outcome(message: Message) -> Outcome:
    if _fits(message):
        return Outcome(message.id, Status.SENT, "stored")
    return Outcome(message.id, Status.REFUSED, "the message id cannot be a file name", About.MESSAGE)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
