"""Variables that look like settings and are none, and which setting was probably meant. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches

PREFIX = "MAILER_"

# Kubernetes and Docker's links set these in every container beside a service that is called `mailer`.
_ORCHESTRATOR = re.compile(
    r"MAILER_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
_LIKE = 0.6  # difflib's least ratio between two names without their prefix


@dataclass(frozen=True, slots=True)
class UnknownName:
    """A variable that looks like a setting and is none; `nearest` is the setting most like it, None if none is."""

    name: str
    nearest: str | None

    def __str__(self) -> str:
        meant = f"; did you mean {self.nearest}?" if self.nearest else ""
        return f"{self.name}: there is no such setting{meant}"


def unknown_names(names: Iterable[str], known: Collection[str]) -> tuple[UnknownName, ...]:
    """Those of `names` that begin as settings do, in any case, and are not `known`; sorted, each once."""
    ours = {name for name in names if name.upper().startswith(PREFIX) and not _ORCHESTRATOR.fullmatch(name)}
    return tuple(UnknownName(name, _nearest(name, known)) for name in sorted(ours - set(known)))


def _nearest(name: str, known: Collection[str]) -> str | None:
    rests = {other.removeprefix(PREFIX): other for other in known}
    found = get_close_matches(name.upper().removeprefix(PREFIX), rests, 1, _LIKE)
    return rests[found[0]] if found else None
