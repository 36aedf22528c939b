"""The message that `mailer send` and `mailer preview` take: its options, and its body from a file."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any

import click

from mailer.cli.failures import Failure

BODY = click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class MessageOptions:
    """What a message is made from, as the command line gives it."""

    sender: str
    subject: str
    body_file: str
    reply_to: str | None
    inline_css: bool = False

    def read(self) -> dict[str, Any]:
        """The message as the service takes it. Raises `Failure` where the body's file is not UTF-8."""
        message: dict[str, Any] = {"from": self.sender, "subject": self.subject, "body": read_body(self.body_file)}
        message |= {"inlineCss": True} if self.inline_css else {}
        return message if self.reply_to is None else {**message, "replyTo": self.reply_to}


def message_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a message; it takes them together, as `given`."""

    @wraps(command)
    def taking_message(**options: Any) -> None:
        given = MessageOptions(**{field.name: options.pop(field.name) for field in fields(MessageOptions)})
        command(given=given, **options)

    taking: Callable[..., None] = taking_message
    for option in (
        click.option("--inline-css", is_flag=True, help="Write the CSS of style sheets into the elements too."),
        click.option("--reply-to", help="Where answers go, if not to --from: an address, bare or as NAME <ADDRESS>."),
        click.option("--body-file", required=True, type=BODY, help="HTML or text with [unsubscribe]; - is stdin."),
        click.option("--subject", required=True, help="Placeholders work here too."),
        click.option("--from", "sender", required=True, help="An address, bare or as NAME <ADDRESS>."),
    ):
        taking = option(taking)
    return taking


def read_body(body_file: str) -> str:
    """The text of the file, or of stdin for `-`."""
    with click.open_file(body_file, "rb") as file:
        content: bytes = file.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        guess = "UTF-16" if content.startswith(_UTF16) else "Windows-1252 (cp1252) or another encoding of one byte each"
        raise Failure(f"--body-file: not UTF-8 but, it seems, {guess}; save it as UTF-8") from error
