"""From a record of the standard library's logging to a line: what it carries, what is masked, how it is written."""

from __future__ import annotations

import socket
from logging import LogRecord
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from mailer.logs.masking import masked_value
from mailer.text import one_line

HOST = socket.gethostname()
_TRACEBACK = "Traceback (most recent call last):"
_OURS = ("timestamp", "level", "logger", "worker", "request")  # made or checked here, so none can hold a secret
_ORDER = ("timestamp", "level", "logger", "event", "request", "campaign", "batch")


def formatter(form: str) -> structlog.stdlib.ProcessorFormatter:
    """Return what writes records as lines: JSON objects, or text for people when `form` is `console`."""
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[
            *(_add_worker, structlog.stdlib.ProcessorFormatter.remove_processors_meta),
            *(structlog.processors.format_exc_info, _traceback_apart, _mask),
            structlog.processors.JSONRenderer() if form == "json" else _as_text,
        ],
    )


def _add_worker(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Say where the line was logged: host, process and thread."""
    record: LogRecord = event["_record"]
    event["worker"] = f"{HOST}:{record.process}:{record.threadName}"
    return event


def _traceback_apart(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Move a traceback that was logged as text into the field `exception`, and leave its last line as the event."""
    said = str(event.get("event", ""))
    if said.startswith(_TRACEBACK):
        event["exception"] = said.rstrip()
        event["event"] = event["exception"].rpartition("\n")[2]
    return event


def _mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    known = {name: event[name] for name in _ORDER if name in event}
    return {name: value if name in _OURS else masked_value(value) for name, value in {**known, **event}.items()}


def _as_text(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Write one line: time, level, logger and event, then the other fields; a traceback follows on lines of its own."""
    exception = str(event.pop("exception", ""))
    head = f"{event.pop('timestamp')} {event.pop('level').upper()} {event.pop('logger')}: {event.pop('event')}"
    more = "".join(f" {name}={_shown(value)}" for name, value in event.items())
    return "\n".join([one_line(head) + one_line(more), *map(one_line, exception.splitlines())])


def _shown(value: Any) -> str:
    text = str(value)
    return repr(text) if not text or " " in text else text
