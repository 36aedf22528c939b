"""How much is measured: the usual run, a quick look, and what the smoke test does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Scale:
    """Counts for each part. `sizes` are the audiences of part 5; `users` is the big directory of parts 4 and 7."""

    rounds: int
    recipients: int  # of our service and smtp-source
    peer_messages: int  # of Nodemailer, whose rate does not depend on it
    slow_messages: int  # of those below 1,000 messages/s
    renders: int
    files: int
    requests: int
    users: int
    sizes: tuple[int, ...]
    window: float  # seconds in which what goes on is counted


FULL = Scale(3, 20_000, 8_000, 2_000, 5_000, 3_000, 3_000, 1_000_000, (1_000, 10_000, 100_000, 1_000_000), 10.0)
QUICK = Scale(1, 5_000, 1_000, 200, 500, 200, 500, 20_000, (1_000, 10_000), 2.0)
TINY = Scale(1, 60, 20, 10, 10, 10, 20, 600, (50, 100), 1.0)


@dataclass(frozen=True, slots=True)
class Bench:
    """A run: how much, and a folder on the disk that the service would use."""

    scale: Scale
    work: Path
