"""The message that `mailer send` and `mailer preview` take: its options, and its body from a file."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any

import click

from mailer.cli.failures import Failure

_BODY = click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def message_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a message; it takes sender, subject and body_file."""
    for option in (
        click.option("--body-file", required=True, type=_BODY, help="HTML or text with [unsubscribe]; - is stdin."),
        click.option("--subject", required=True, help="Placeholders work here too."),
        click.option("--from", "sender", required=True, help="An address, bare or as NAME <ADDRESS>."),
    ):
        command = option(command)
    return command


def read_message(sender: str, subject: str, body_file: str) -> dict[str, Any]:
    """The message as the service takes it: `from`, `subject` and `body`."""
    return {"from": sender, "subject": subject, "body": _read_body(body_file)}


def _read_body(body_file: str) -> str:
    """The text of the file, or of stdin for `-`."""
    with click.open_file(body_file, "rb") as file:
        content: bytes = file.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        guess = "UTF-16" if content.startswith(_UTF16) else "Windows-1252 (cp1252) or another encoding of one byte each"
        raise Failure(f"--body-file: not UTF-8 but, it seems, {guess}; save it as UTF-8") from error
