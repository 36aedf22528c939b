"""Every setting, parsed once. The only module that reads the environment; docs and README list what stands here."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from environs import Env, EnvError
from limits import parse_many
from marshmallow import ValidationError
from marshmallow.validate import OneOf, Range
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from mailer.errors import ConfigError
from transports.options import DURATION, SECONDS

SECRET_KEY_FILE = Path("instance/secret.key")
MIN_SECRET_LENGTH = 32

_PLAIN_ADDRESS = re.compile(r"[!#-%(-;=?-~]+")  # what an HTML attribute and a header take as it is


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """The configuration; each field is the variable `MAILER_<FIELD>`. Built for a test it needs no environment."""

    database_url: str = "sqlite:///instance/mailer.db"
    transport: str = "console:"
    engine: str = "local"
    secret_key: tuple[str, ...] = ()  # the first signs, all verify
    site_url: str = "http://127.0.0.1:8000"
    site_name: str = "Mailer"
    allowed_senders: tuple[str, ...] = ()
    batch_size: int = 500
    checkpoint: int = 50
    lease_seconds: int = 60
    workers: int = 1
    uncertain: str = "retry"
    max_failure_rate: float = 0.2
    suppress_after: int = 3  # campaigns; 0: never
    merge_addresses: bool = False
    max_body_bytes: int = 1024 * 1024
    rate_limit: str = "10/minute"
    email_header: str = ""  # HTML, read from the file that the variable names
    email_footer: str = ""
    auth: str = "local"
    send_roles: tuple[str, ...] = ()  # of the workspace, beside admin
    workspace_url: str = ""
    workspace_user_id: str = ""
    workspace_token: str = ""
    sync_every: int | None = None  # seconds

    @classmethod
    def from_env(cls) -> Settings:
        """Read `MAILER_*` from the environment and `.env`; raise `ConfigError` naming the key and the bad value."""
        env = Env()
        env.read_env(".env", recurse=False)
        with env.prefixed("MAILER_"):
            values = {f.name: _read(env, f.name) for f in fields(cls) if _is_set(env, f.name)}
        return cls(**{"secret_key": (_kept_secret_key(),), **values} if "secret_key" not in values else values)

    def __repr__(self) -> str:
        """Show nothing that may hold a secret."""
        return f"Settings(site_url={self.site_url!r}, engine={self.engine!r})"


def _is_set(env: Env, name: str) -> bool:
    """An empty variable counts as absent, but for the rate limit, where it means none."""
    value: str | None = env.str(name.upper(), None)
    return value is not None and (value != "" or name == "rate_limit")


def _read(env: Env, name: str) -> Any:
    try:
        return _READERS[name](env, name.upper())
    except EnvError as error:
        raw: str = env.str(name.upper())
        value = "the value" if name in _SECRET or (name.endswith("_url") and "@" in raw) else repr(raw)
        problem = " ".join(str(error).partition("invalid: ")[2].strip("[]").split())
        raise ConfigError(f"MAILER_{name.upper()}: {value}: {problem}") from error


Reader = Callable[[Env, str], Any]


def _whole(least: int, most: int) -> Reader:
    return lambda env, name: env.int(name, validate=Range(least, most))


def _choice(*names: str) -> Reader:
    return lambda env, name: env.str(name, validate=OneOf(names))


def _text(*checks: Callable[[str], None]) -> Reader:
    return lambda env, name: env.str(name, validate=list(checks))


def _tuple(check: Callable[[list[str]], None]) -> Reader:
    def read(env: Env, name: str) -> tuple[str, ...]:
        entries: list[str] = env.list(name, validate=check)
        return tuple(part.strip() for part in entries if part.strip())

    return read


def _duration(least: int, most: int) -> Reader:
    """Whole seconds, given as 30s, 5m, 2h, 1d or a bare number."""

    def read(env: Env, name: str) -> int:
        return int(_seconds(env.str(name, validate=check)))

    def check(raw: str) -> None:
        if not least <= _seconds(raw) <= most:
            raise ValidationError(f"Not a duration such as 15m, from {least} s to {most // 86_400} d.")

    return read


def _seconds(raw: str) -> float:
    match = DURATION.fullmatch(raw)
    return float(match[1]) * SECONDS[match[2] or "s"] if match else -1.0


def _printable(raw: str) -> None:
    if not raw.isprintable():
        raise ValidationError("Has a control character.")


def _header_value(raw: str) -> None:
    if not (raw.isascii() and raw.isprintable()):
        raise ValidationError("Not what a header can hold.")


def is_http_address(raw: str) -> bool:
    """Whether it is an http or https address as it stands: no query, no fragment and, since it is shown, no login."""
    try:
        parts = urlsplit(raw)
        reachable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a bracket that is not closed, a port that is none
        return False
    more = parts.query or parts.fragment or parts.username is not None
    return bool(reachable and _PLAIN_ADDRESS.fullmatch(raw) and not more)


def _http_address(raw: str) -> None:
    if not is_http_address(raw):
        raise ValidationError("Not an http or https address.")


def _rate(raw: str) -> None:
    try:
        parse_many(raw or "1/second")
    except ValueError as error:
        raise ValidationError("Not a rate like 10/minute.") from error


def _database(raw: str) -> None:
    try:
        make_url(raw)
    except (ArgumentError, ValueError) as error:
        raise ValidationError("Not a database URL.") from error


def _senders(entries: list[str]) -> None:
    for entry in map(str.strip, entries):
        if entry.count("@") != 1 or entry.endswith("@") or " " in entry:
            raise ValidationError("Each entry is an address or an @domain.")


def _roles(entries: list[str]) -> None:
    if not all(map(str.isprintable, entries)):
        raise ValidationError("Has a control character.")


def _long_enough(keys: list[str]) -> None:
    if any(len(key.strip()) < MIN_SECRET_LENGTH for key in keys):
        raise ValidationError(f"Each key needs {MIN_SECRET_LENGTH} characters or more.")


def _contents(env: Env, name: str) -> str:
    def check(path: Path) -> None:
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValidationError("Not a readable UTF-8 file.") from error
        if "\0" in text:
            raise ValidationError("Has a NUL.")

    return env.path(name, validate=check).read_text("utf-8")


def _kept_secret_key() -> str:
    """Make the signing key on first use and keep it, readable by the owner only; links must outlive a restart."""
    SECRET_KEY_FILE.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = SECRET_KEY_FILE.with_name(f".secret.{secrets.token_hex(8)}")
    if not SECRET_KEY_FILE.exists():
        scratch.touch(mode=0o600)
        scratch.write_text(secrets.token_urlsafe(48), "ascii")
        try:
            SECRET_KEY_FILE.hardlink_to(scratch)  # atomic: of several processes starting at once, one wins
        except FileExistsError:
            pass
        finally:
            scratch.unlink()
    key = SECRET_KEY_FILE.read_text("ascii").strip()
    if len(key) < MIN_SECRET_LENGTH:
        raise ConfigError(f"MAILER_SECRET_KEY: the key kept in {SECRET_KEY_FILE} is too short; delete or restore it")
    return key


_SECRET = {"secret_key", "database_url", "transport", "workspace_token"}
_READERS: dict[str, Reader] = {
    "database_url": _text(_database),
    "transport": _text(_printable),
    "engine": _choice("local"),
    "secret_key": _tuple(_long_enough),
    "site_url": _text(_http_address),
    "site_name": _text(_printable),
    "allowed_senders": _tuple(_senders),
    "batch_size": _whole(1, 100_000),
    "checkpoint": _whole(1, 1000),
    "lease_seconds": _whole(5, 3600),
    "workers": _whole(1, 64),
    "uncertain": _choice("retry", "hold"),
    "max_failure_rate": lambda env, name: env.float(name, validate=Range(0, 1, min_inclusive=False)),
    "suppress_after": _whole(0, 100),
    "merge_addresses": lambda env, name: env.bool(name),
    "max_body_bytes": _whole(1024, 64 * 1024 * 1024),
    "rate_limit": _text(_rate),
    "email_header": _contents,
    "email_footer": _contents,
    "auth": _choice("local", "workspace"),
    "send_roles": _tuple(_roles),
    "workspace_url": _text(_http_address),
    "workspace_user_id": _text(_header_value),
    "workspace_token": _text(_header_value),
    "sync_every": _duration(60, 365 * 86_400),
}
