"""Secrets kept in files, as service managers and container engines hand them over: `MAILER_SECRET_KEY_FILE` and so on.

No error repeats what such a variable holds: somebody may have put the secret itself into it by mistake.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from mailer.errors import ConfigError

SUFFIX = "_FILE"
LARGEST = 64 * 1024  # bytes; a key of a few hundred is long


def read(variables: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """The secrets that files hold, by the names of the settings; none for a setting that names no file.

    Line ends at the end of a file are no part of the secret. Raises `ConfigError` for a setting that is given both
    ways, and for what is no file, cannot be read, is empty, too large or no UTF-8.
    """
    named = {name: path for name in names if (path := variables.get(name + SUFFIX))}
    for name in named:
        if variables.get(name):
            raise ConfigError(f"{name + SUFFIX}: {name} is set too; keep one of them")
    return {name: _content(name + SUFFIX, Path(path)) for name, path in named.items()}


def warnings(variables: Mapping[str, str], names: Iterable[str]) -> tuple[str, ...]:
    """A sentence for each of these files that everybody on the machine may read.

    That is no reason to refuse: some container engines mount every secret so, where nobody else is.
    """
    named = {name + SUFFIX: Path(path) for name in names if (path := variables.get(name + SUFFIX))}
    return tuple(
        f"{variable}: everybody on this machine may read the file; chmod 600 it, or 640 with a group"
        for variable, path in named.items()
        if _open_to_others(path)
    )


def _content(variable: str, path: Path) -> str:
    try:
        if not path.is_file():  # a pipe could be read only once, and every process reads
            raise ConfigError(f"{variable}: there is no such file")
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
        text = raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{variable}: the file is not UTF-8") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = getattr(error, "strerror", None) or "not a path"
        raise ConfigError(f"{variable}: the file cannot be read: {why}") from error
    if not text or len(raw) > LARGEST:
        raise ConfigError(f"{variable}: the file {'is empty' if not text else f'has more than {LARGEST} bytes'}")
    return text


def _open_to_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except (OSError, ValueError):
        return False  # told when it is read
