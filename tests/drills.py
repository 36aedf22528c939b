"""How far the drills go: every kind of case in each run, many more of each with `make test-long`.

A drill is a test that tries things at random or many times over. It is marked `drill`, and takes its numbers from here.
"""

from __future__ import annotations

import os

LONG = os.environ.get("TEST_LONG", "") not in ("", "0")


def rounds(short: int, long: int) -> int:
    """How often to do it: `long` with TEST_LONG=1, else `short`."""
    return long if LONG else short
