"""The id of a request, which its log lines, its answer and the caller's log share; and the facts that are logged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.wsgi import ClosingIterator

from mailer.logs.access import FACTS
from mailer.logs.context import bind, request_id

HEADER = "X-Request-Id"
_CONVERTER = re.compile(r"<\w+:")

WSGI = Callable[[dict[str, Any], Any], Iterable[bytes]]


class RequestIds:
    """Gives every request an id, its own `X-Request-Id` if that is sane, and puts it on every line until the answer."""

    def __init__(self, application: WSGI) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer the request; the id holds until the answer is sent whole."""
        found = request_id(environ.get("HTTP_X_REQUEST_ID", ""))
        environ[FACTS] = {"request": found}
        release = bind(request=found)
        try:
            return ClosingIterator(self._application(environ, start_response), release)
        except BaseException:
            release()
            raise


@lru_cache(maxsize=512)  # of the rules of one app
def _without_converters(rule: str) -> str:
    return _CONVERTER.sub("<", rule)


def tell_requests(app: Flask) -> None:
    """Put the id into every answer, and leave for the access log which view answered, for whom and about what."""

    @app.after_request
    def tell(answer: Response) -> Response:
        facts = request.environ.get(FACTS, {})
        if request.url_rule is not None:
            facts["route"] = _without_converters(request.url_rule.rule)
        caller = g.get("caller")
        facts["caller"] = caller.user_id if caller else ""
        facts["campaign"] = (request.view_args or {}).get("campaign_id", "")
        if "request" in facts:
            answer.headers[HEADER] = facts["request"]
        return answer
