"""Paths as they were meant. A `%2F` in an id belongs to the id, although WSGI hands it over as a slash.

An unsubscribe link is found whatever mail programs did to its slashes and line ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from werkzeug.routing import UnicodeConverter

from mailer.messages.links import PATH

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]
_KEPT = re.compile("%(2f|25)", re.IGNORECASE)
_LINK = re.compile("/+".join(PATH.split("/")))


class KeptSlashes:
    """WSGI middleware: leaves `%2F` and `%25` in the path as they came, for `PathPart` to read."""

    def __init__(self, app: Application) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Serve one request."""
        environ["PATH_INFO"] = routed(environ.get("RAW_URI", ""), environ["PATH_INFO"], environ["SCRIPT_NAME"])
        return self._app(environ, start_response)


def routed(raw: str, path: str, prefix: str) -> str:
    """The path to route by: `raw` (RAW_URI) decoded but for `%2F` and `%25`. Pure.

    Where a server has changed the path itself, so that `raw` is not what `path` came from, all slashes divide.
    """
    decoded = unquote(path, "latin-1")
    if link := _LINK.match(decoded):
        return PATH + re.sub(r"[\r\n]", "", decoded[link.end() :])  # no route has a line end
    target = raw.partition("?")[0].partition("#")[0]
    if not target.startswith("/"):  # the absolute form, as proxies are asked
        target = urlsplit(target).path
    target = target.removeprefix(prefix)
    if unquote_to_bytes(target) != path.encode("latin-1"):
        return path.replace("%", "%25")
    return unquote_to_bytes(_KEPT.sub(r"%25\1", target)).decode("latin-1")


class PathPart(UnicodeConverter):
    """A part of a path that a database can hold: with a NUL in it the address is a 404."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.regex = self.regex.replace("[^/]", "[^/\0]")

    def to_python(self, value: str) -> str:
        """The id as it was before it was encoded."""
        return _KEPT.sub(lambda found: "/" if found[1] in "2f2F" else "%", value)
