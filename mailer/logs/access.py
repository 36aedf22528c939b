"""One line a request, with nothing in it that the request brought but its method and the names of its parameters.

A request that a view answers is named by the view's route, such as `/api/v1/users/<user_id>`, and not by its path: so
no recipient's id, address or link is logged. `caller` is the id of who called, `campaign` the one that it was about.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from mailer.logs.masking import masked

FACTS = "mailer.request"  # where in a WSGI environment the application leaves the facts of a request
_PARAMETER = re.compile(r"[A-Za-z][A-Za-z_]{0,29}")
_LONGEST = 200  # characters of a path that is no view's
QUIET = ("/healthz", "/readyz", "/metrics")  # asked every few seconds by machines


def is_quiet(environ: Mapping[str, Any]) -> bool:
    """Whether the request is one of those that come every few seconds, and are logged at `debug` only."""
    return environ.get("PATH_INFO") in QUIET


def access_fields(environ: Mapping[str, Any], status: object, sent: int | None, seconds: float) -> dict[str, Any]:
    """Return what is logged of a request: its answer's `status`, how many bytes were `sent`, how long it took."""
    facts: Mapping[str, str] = environ.get(FACTS, {})
    route = facts.get("route") or _shown_path(str(environ.get("PATH_INFO", "")))
    fields: dict[str, Any] = {"method": _shown_method(str(environ.get("REQUEST_METHOD", ""))), "route": route}
    parameters = _parameters(str(environ.get("QUERY_STRING", "")))
    if parameters:
        fields["parameters"] = parameters
    fields |= {"status": int(str(status).split(maxsplit=1)[0]), "bytes": sent or 0, "ms": round(seconds * 1000)}
    return fields | {name: facts[name] for name in ("request", "caller", "campaign") if facts.get(name)}


def _shown_method(method: str) -> str:
    return method if method.isalpha() and len(method) <= 10 else "-"


def _shown_path(path: str) -> str:
    """A path that no view has, to find out who asks for the wrong thing: masked and cut."""
    return masked(unquote(path))[:_LONGEST]


def _parameters(query: str) -> str:
    """The names of the parameters, without their values; `…` for what is no name."""
    names = [pair.partition("=")[0] for pair in query.split("&") if pair][:20]
    return ",".join(name if _PARAMETER.fullmatch(name) else "…" for name in names)
