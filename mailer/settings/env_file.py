"""Reads the file `.env` strictly: a line that were passed over in silence could be the one that matters."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from mailer.errors import ConfigError


def read(path: Path) -> dict[str, str]:
    """The variables in the file, none if there is no such file.

    Raises `ConfigError`, which names the file and the line, for what cannot be read: no UTF-8, no NAME=VALUE.
    """
    text = _text(path)
    wrong = next((found.original.line for found in parse_stream(StringIO(text)) if found.error), None)
    if wrong is not None:
        raise ConfigError(f"{path}: line {wrong}: not NAME=VALUE, or a quote that is not closed")
    values = dotenv_values(stream=StringIO(text))
    return {name: value for name, value in values.items() if value is not None}


def _text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8; save it in that encoding") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if text.startswith("\ufeff"):
        raise ConfigError(f"{path}: begins with a byte-order mark; save it as UTF-8 without one")
    return text
