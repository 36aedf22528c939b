"""Errors as one line on stderr and an exit code: 1 if the work failed, 2 if the command or a setting is wrong."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from mailer.errors import ConfigError, JournalUnavailable, MailerError
from mailer.settings import log_settings
from transports import TransportError

if TYPE_CHECKING:
    import requests

log = logging.getLogger("mailer")


class Failure(click.ClickException):
    """A command that could not do its work."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class Misuse(Failure):
    """The command or a setting is wrong."""

    exit_code = 2


class Logged(Failure):
    """Why a process ends, as a line of its log: whoever collects that reads no other."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self._failure = failure

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """That of the failure."""
        return self._failure.exit_code

    def show(self, file: Any = None) -> None:  # noqa: ARG002 - as click calls it
        """Write the line."""
        log.critical("%s", self.message)


class Interrupted(Failure):
    """Ctrl-C, or the end of the input; the message says what has been done by then."""

    exit_code = 130

    def show(self, file: Any = None) -> None:
        """Print the message alone, without `Error:` before it, since nothing went wrong."""
        click.echo(self.format_message(), file=file, err=file is None)


@contextmanager
def told_in_the_log() -> Iterator[None]:
    """For commands that run as processes: where the log is JSON, what ends one is a line of it as well."""
    from mailer.logs.configuration import configure  # noqa: PLC0415 - other commands write no log

    form, level = log_settings()
    try:
        yield
    except Exception as error:
        failure = error if isinstance(error, Failure) else failure_of(error)
        if form != "json" or failure is None or isinstance(failure, Interrupted):
            raise
        configure(form, level)
        raise Logged(failure) from error


class FailingGroup(click.Group):
    """Shows expected errors as a `Failure`. Any other is a defect, and keeps its traceback."""

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
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader of a pipe has gone, as `head` does: click ends without a word
            failure = failure_of(error)
            if failure is None:
                raise
            raise failure from error


def failure_of(error: Exception) -> Failure | None:
    """The line and the exit code for an expected error; None: it is a defect."""
    # imported here, since most commands end without an error, and some need neither requests nor a database
    import requests  # noqa: PLC0415

    from mailer.storage.database_errors import DATABASE_ERRORS, own_words  # noqa: PLC0415

    if isinstance(error, DATABASE_ERRORS):
        return Failure(f"database: {own_words(error)}")
    match error:
        case ConfigError():
            return Misuse(str(error))
        case MailerError() | TransportError():
            place = f" ({error.place})" if isinstance(error, JournalUnavailable) else ""
            return Failure(f"{error}{place}")
        case requests.RequestException():  # an OSError too
            return Failure(unanswered(error))
        case OSError():
            return Failure(_file_trouble(error))
        case _:
            return None


def unanswered(error: requests.RequestException) -> str:
    """One line that says which address did not answer, and why."""
    from transports.network_errors import in_words  # noqa: PLC0415 - as above

    url = error.request.url if error.request else None
    return f"no answer from {url or 'the service'}: {in_words(error)}"


def _file_trouble(error: OSError) -> str:
    reason = error.strerror or os.strerror(error.errno or errno.EIO)
    return f"{error.filename}: {reason}" if error.filename else reason


def _misuse(error: click.UsageError) -> click.ClickException:
    """One line in place of click's four. A group without its command is still answered with the group's help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error
    hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
    return Misuse(f"{error.format_message().removesuffix('.')}{hint}")
