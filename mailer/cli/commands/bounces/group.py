"""`mailer bounces`: the group, and `read`, which reads reports out of a mailbox or from standard input."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import click

from mailer.bounces.collecting import Collected, collect
from mailer.bounces.mailboxes.base import Mailbox, MailboxUnavailable
from mailer.bounces.mailboxes.opening import OneMessage, open_mailbox
from mailer.bounces.recording import Recorder
from mailer.bounces.report import Record
from mailer.cli.database import open_database
from mailer.cli.failures import Failure, Misuse
from mailer.cli.output import print_json, print_notes, spelled
from mailer.errors import ConfigError, MailerError
from mailer.settings import Settings
from mailer.settings.bounces.mailbox import BounceMailbox
from mailer.storage.database_errors import DATABASE_ERRORS, own_words

STDIN = "-"
LOOK_AGAIN = 60.0  # seconds after which a mailbox is looked at even if the server told of nothing
PAUSES = (5.0, 15.0, 60.0)  # seconds after a mailbox did not answer, once, twice and more often in a row


class NoMail(Failure):
    """EX_DATAERR of sysexits.h: no later try would find a mail in it."""

    exit_code = 65


class TryAgain(Failure):
    """EX_TEMPFAIL of sysexits.h: whoever pipes a message keeps it and tries again. Any other code would bounce it."""

    exit_code = 75


@click.group()
def bounces() -> None:
    """What comes back by mail: bounces, complaints, and the wish to be written to no more."""


@bounces.command("read")
@click.argument("mailbox", required=False, metavar="[MAILBOX]")
@click.option("--delete", is_flag=True, help="Delete what is done, instead of keeping it as read.")
@click.option("--watch", is_flag=True, help="Go on: wait for what arrives, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def read_(mailbox: str | None, delete: bool, watch: bool, as_json: bool) -> None:
    """Read the reports in MAILBOX, record them, and mark each mail once its reports are on record.

    MAILBOX is maildir:///FOLDER or imaps://USER@HOST/FOLDER, with the password of MAILER_BOUNCE_MAILBOX_PASSWORD; by
    default MAILER_BOUNCE_MAILBOX. With - it is one message on standard input, as Postfix pipes it: then no
    database is made, and the exit code is 75 whenever Postfix is to try again. What is not understood stays in the
    mailbox, flagged.
    """
    if mailbox == STDIN:
        if delete or watch:
            raise Misuse(f"{'--delete' if delete else '--watch'} is for a mailbox: standard input is one message")
        _read_one(as_json)
        return
    settings = Settings.from_env()
    place = _place(settings, mailbox, delete)
    with open_database() as db:
        record = Recorder(db, settings).record
        if watch:
            _watch(place, settings.bounce_mailbox_password, record, as_json)
        with _failing(), open_mailbox(place, settings.bounce_mailbox_password) as opened:
            _print(collect(opened, record), as_json)


def _read_one(as_json: bool) -> None:
    """Read standard input. Every trouble that may pass ends with the code that has it tried again."""
    try:
        settings = Settings.from_env(new_key=False)
        message = OneMessage(sys.stdin.buffer)
        with open_database(existing=True) as db:
            collected = collect(message, Recorder(db, settings).record)
    except (ConfigError, MailerError, Failure, OSError) as error:
        raise TryAgain(str(error)) from error
    except DATABASE_ERRORS as error:
        raise TryAgain(f"database: {own_words(error)}") from error
    if collected.set_aside and message.is_no_mail:
        raise NoMail("standard input is no mail: it has none of the header fields that every mail has")
    _print(collected, as_json)
    if collected.set_aside:
        print_notes(["this is no report, and went to no address that unsubscribes"])


def _place(settings: Settings, named: str | None, delete: bool) -> BounceMailbox:
    try:
        place = BounceMailbox.parse(named) if named else settings.bounce_mailbox
    except ValueError as error:
        raise Misuse(f"MAILBOX: {error}") from error
    if place is None:
        raise Misuse("neither a MAILBOX nor MAILER_BOUNCE_MAILBOX")
    return replace(place, delete=place.delete or delete)


def _watch(place: BounceMailbox, password: str, record: Record, as_json: bool) -> None:
    """Read what arrives, for ever. A mailbox that does not answer is opened again."""
    failed = 0
    while True:
        try:
            with open_mailbox(place, password) as opened:
                while True:
                    failed = _look(opened, record, as_json)
        except MailboxUnavailable as error:
            print_notes([str(error)])
            time.sleep(PAUSES[min(failed, len(PAUSES) - 1)])
            failed += 1


def _look(opened: Mailbox, record: Record, as_json: bool) -> int:
    collected = collect(opened, record)
    if collected.mails:
        _print(collected, as_json)
    opened.wait(LOOK_AGAIN)
    return 0


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except MailboxUnavailable as error:
        raise Failure(str(error)) from error


def _print(collected: Collected, as_json: bool) -> None:
    if as_json:
        print_json(spelled(collected._asdict()))
    else:
        click.echo(collected.words())
    sys.stdout.flush()
