"""Entries that were read from a list, on disk: all of a list is read before anything is done, however long it is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Self

from mailer.suppression.exchange.entries import Entry, Why

IN_MEMORY = 1 << 20  # bytes; what is more is a file


class Spool:
    """Takes all `entries` at once, and gives them as often as they are asked for. `counts` says how many of each."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.counts: Counter[Why] = Counter()
        self._file = SpooledTemporaryFile(IN_MEMORY, "w+", encoding="ascii", newline="\n")  # noqa: SIM115 - see __exit__
        try:
            for entry in entries:
                self._file.write(json.dumps(asdict(entry)) + "\n")
                self.counts[entry.reason] += 1
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        """Forget all of them."""
        self._file.close()

    def __iter__(self) -> Iterator[Entry]:
        """The entries, from the first one on."""
        self._file.seek(0)
        for line in self._file:
            fields = json.loads(line)
            yield Entry(**{**fields, "reason": Why(fields["reason"])})
