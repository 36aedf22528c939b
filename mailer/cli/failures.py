"""What goes wrong, as one line on stderr and an exit code: 1 for the work, 2 for the command or a setting."""

from __future__ import annotations

import errno
import os
from typing import Any

import click
import requests

from mailer.errors import ConfigError, MailerError
from mailer.storage.database_errors import DATABASE_ERRORS, own_words
from transports import TransportError
from transports.network_errors import in_words

REPORTED = (ConfigError, MailerError, TransportError, *DATABASE_ERRORS, OSError)


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
            return Failure(f"database: {own_words(error)}")


def unanswered(error: requests.RequestException) -> str:
    """In people's words: which address did not answer, and why."""
    url = error.request.url if error.request else None
    return f"no answer from {url or 'the service'}: {in_words(error)}"


def _file_trouble(error: OSError) -> str:
    reason = error.strerror or os.strerror(error.errno or errno.EIO)
    return f"{error.filename}: {reason}" if error.filename else reason


def _misuse(error: click.UsageError) -> click.ClickException:
    """click tells of misuse in four lines; a command without its subcommand stays answered with all of its help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error
    hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
    return Misuse(f"{error.format_message().removesuffix('.')}{hint}")
