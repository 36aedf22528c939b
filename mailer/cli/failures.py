"""What goes wrong, as one line on stderr and an exit code: 1 for the work, 2 for the command or a setting."""

from __future__ import annotations

from typing import Any

import click
import psycopg
import requests
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from mailer.errors import ConfigError, MailerError
from transports import TransportError


class Failure(click.ClickException):
    """A command that could not do its work."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class Misuse(Failure):
    """A command or a setting that cannot be right."""

    exit_code = 2


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
        except ConfigError as error:
            raise Misuse(str(error)) from error
        except (MailerError, TransportError) as error:
            raise Failure(str(error)) from error
        except DBAPIError as error:  # its text holds the statement and its values, which may be addresses
            raise Failure(f"database: {_headline(error.orig)}") from error
        except (psycopg.Error, SQLAlchemyError) as error:
            raise Failure(f"database: {_headline(error)}") from error
        except requests.RequestException as error:
            url = error.request.url if error.request else ""
            raise Failure(f"no answer from {url}: {type(error).__name__}") from error


def _misuse(error: click.UsageError) -> click.ClickException:
    """click tells of misuse in four lines; a command without its subcommand stays answered with all of its help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error
    hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
    return Misuse(f"{error.format_message().removesuffix('.')}{hint}")


def _headline(error: BaseException | None) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
