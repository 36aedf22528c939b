"""Set up logging, once in each program: one handler on standard error, and no traceback past it."""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType

import structlog
from typing_extensions import override

from mailer.logs.records import formatter

OURS = ("mailer", "transports", "app", "gunicorn")  # the others tell too much of what they do at `debug`
QUIET = {"alembic": logging.WARNING}

log = logging.getLogger("mailer")


class ServiceHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes lines to standard error. What cannot be written as a line is told without its values."""

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        """Replace the record's text, which the standard library would print as it is, and try once more."""
        told = logging.LogRecord(record.name, logging.ERROR, record.pathname, record.lineno, "", (), None)
        told.msg = f"a line could not be logged; it is at {record.pathname}:{record.lineno}"
        try:
            self.stream.write(self.format(told) + self.terminator)
        except Exception:  # noqa: BLE001 - nobody reads standard error any more
            return


def configure(form: str, level: str) -> None:
    """Write all logs of this process to standard error, as `form` (`console` or `json`) and from `level` on.

    Calling it again replaces what the first call set up.
    """
    handler = ServiceHandler()
    handler.setFormatter(formatter(form))
    root = logging.getLogger()
    for earlier in [one for one in root.handlers if isinstance(one, ServiceHandler)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    _set_levels(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    logging.captureWarnings(capture=True)
    _log_what_python_prints()


def adopt(*names: str) -> None:
    """Have the loggers `names`, which a library has set up for itself, write as all others do.

    What they write to standard output or error comes out once, by the handler of `configure`; files and the like stay.
    """
    ours = next((one.formatter for one in logging.getLogger().handlers if isinstance(one, ServiceHandler)), None)
    for logger in map(logging.getLogger, names):
        for handler in list(logger.handlers):
            if type(handler) is logging.StreamHandler:
                logger.removeHandler(handler)
            else:
                handler.setFormatter(ours)
        logger.propagate = not logger.handlers


def _set_levels(level: str) -> None:
    logging.getLogger().setLevel(max(logging.getLevelName(level), logging.INFO))
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(least)


def _log_what_python_prints() -> None:
    """Log the exceptions that nobody catches. Python would print them past the handler, with whatever they hold."""
    sys.excepthook = _uncaught
    threading.excepthook = lambda told: _uncaught(told.exc_type, told.exc_value, told.exc_traceback)
    sys.unraisablehook = lambda told: _uncaught(told.exc_type, told.exc_value, told.exc_traceback)


def _uncaught(kind: type[BaseException], error: BaseException | None, where: TracebackType | None, /) -> None:
    if not issubclass(kind, (KeyboardInterrupt, SystemExit)):
        log.critical("an exception that nobody caught", exc_info=(kind, error or kind(), where))
