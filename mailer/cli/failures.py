"""What goes wrong, as one line on stderr and an exit code: 1 for the work, 2 for the command or a setting."""

from __future__ import annotations

import errno
import os
from typing import Any

import click
import psycopg
import requests
import urllib3
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, TimeoutError

from mailer.errors import ConfigError, MailerError
from transports import TransportError

REPORTED = (ConfigError, MailerError, TransportError, SQLAlchemyError, psycopg.Error, OSError)


class Failure(click.ClickException):
    """A command that could not do its work."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class Misuse(Failure):
    """A command or a setting that cannot be right."""

    exit_code = 2


class Interrupted(Failure):
    """Ctrl-C; the message says what that leaves behind."""

    exit_code = 130

    def show(self, file: Any = None) -> None:
        """Print it: nothing went wrong, so it is not called an error."""
        click.echo(self.format_message(), file=file, err=file is None)


class FailingGroup(click.Group):
    """Turns the errors that are raised on purpose into a `Failure`; anything else is a defect with its traceback."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the group's own options."""
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise _misuse(error) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _misuse(error) from error
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None
        except REPORTED as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # whoever read the output has seen enough; click ends without a word
            raise failure_of(error) from error


def failure_of(error: Exception) -> Failure:
    """What is said of one of the errors that are `REPORTED`."""
    match error:
        case ConfigError():
            return Misuse(str(error))
        case MailerError() | TransportError():
            return Failure(str(error))
        case requests.RequestException():  # an OSError too
            return Failure(unanswered(error))
        case OSError():
            return Failure(_file_trouble(error))
        case _:
            return Failure(f"database: {database_trouble(error)}")


def database_trouble(error: Exception) -> str:
    """The database's own words, in one line and without a statement."""
    if isinstance(error, TimeoutError):  # of the pool, whose words are about itself
        return "no connection became free in time"
    cause = error.orig if isinstance(error, DBAPIError) else error  # the whole holds the statement and its values
    return next(iter(str(cause).splitlines()), "") or "no reason given"


def unanswered(error: requests.RequestException) -> str:
    """In people's words: which address did not answer, and why."""
    url = error.request.url if error.request else None
    return f"no answer from {url or 'the service'}: {_network_trouble(error)}"


def never_arrived(error: requests.RequestException) -> bool:
    """Whether the service certainly knows nothing of the request: there was no connection that could carry it."""
    return any(isinstance(cause, _NO_CONNECTION) for cause in _causes(error))


def _network_trouble(error: BaseException) -> str:
    causes = _causes(error)
    for kind, words in _NETWORK.items():
        if any(isinstance(cause, kind) for cause in causes):
            return words
    told = next((cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror), None)
    return told or "the connection broke off"


def _causes(error: BaseException) -> list[BaseException]:
    """The error, what it was raised from, and what it carries: requests and urllib3 wrap each other's."""
    found: list[BaseException] = []
    left: list[object] = [error]
    while left:
        one = left.pop(0)
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            left += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
    return found


_NO_CONNECTION = (
    requests.ConnectTimeout,
    requests.exceptions.InvalidURL,
    requests.exceptions.ProxyError,
    requests.exceptions.SSLError,
    urllib3.exceptions.NewConnectionError,
)
_NETWORK: dict[type[BaseException], str] = {
    requests.exceptions.SSLError: "its certificate or its TLS is not valid",
    requests.exceptions.ProxyError: "the proxy does not let it through",
    requests.exceptions.InvalidURL: "it is not an address",
    requests.ConnectTimeout: "it takes no connection in time",
    requests.ReadTimeout: "it takes too long",
    urllib3.exceptions.NameResolutionError: "there is no such host",
    urllib3.exceptions.ReadTimeoutError: "it takes too long",
}


def _file_trouble(error: OSError) -> str:
    reason = error.strerror or os.strerror(error.errno or errno.EIO)
    return f"{error.filename}: {reason}" if error.filename else reason


def _misuse(error: click.UsageError) -> click.ClickException:
    """click tells of misuse in four lines; a command without its subcommand stays answered with all of its help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error
    hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
    return Misuse(f"{error.format_message().removesuffix('.')}{hint}")
