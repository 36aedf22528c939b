"""This machine's clock."""

from __future__ import annotations

import time


def boot_time() -> float:
    """Seconds by this machine's clock, which goes on while the process is stopped or the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
