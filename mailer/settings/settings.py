"""Every setting, parsed once. The only module that reads the environment.

docs/reference/settings.md lists what stands here.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from environs import Env, EnvError
from typing_extensions import override

from mailer.errors import ConfigError
from mailer.settings import env_file, readers, secret_files
from mailer.settings.bounces.fields import BounceSettings
from mailer.settings.names import PREFIX, UnknownName, unknown_names
from mailer.settings.per_person import FrequencyCap
from mailer.settings.return_address import ReturnAddress
from mailer.settings.send_window import SendWindow
from mailer.settings.table import LOG_FORMATS, LOG_LEVELS, READERS, RESTRAINTS, SECRET, SECRET_VARIABLES

ENV_FILE = Path(".env")
AUTH_TOKEN = "MAILER_AUTH_TOKEN"  # noqa: S105 - the name of a variable
CLIENT_VARIABLES = ("MAILER_USER_ID", AUTH_TOKEN)  # the caller as whom the command line calls a service
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
SECRET_KEY_FILE = Path("instance/secret.key")


@dataclass(frozen=True, slots=True, repr=False)
class Settings(BounceSettings):
    """The configuration. Each field is read from the variable `MAILER_<FIELD>`; a test builds one without any."""

    database_url: str = "sqlite:///instance/mailer.db"
    state_dir: str = ""  # where flight records are kept; empty: beside a SQLite file, else `instance/`
    database_prepare: bool = True  # whether PostgreSQL keeps prepared statements for each connection
    listen_url: str = ""  # where new work is heard of; empty: `database_url`
    transport: str = "console:"
    engine: str = "local"
    broker_url: str = ""
    broker_queue: str = "mailer"
    broker_timeout: int = 1800  # seconds after which the broker hands out again what nobody has acknowledged
    slice_seconds: int = 30  # for how long a message from the broker is worked at
    secret_key: tuple[str, ...] = ()  # the first signs, all verify
    site_url: str = "http://127.0.0.1:8000"
    site_name: str = "Mailer"
    allow_local_links: bool = False  # whether mail to other machines may have links that only work on this one
    allowed_senders: tuple[str, ...] = ()
    bounce_address: ReturnAddress | None = None  # the envelope's sender; None: the From address
    unsubscribe_address: ReturnAddress | None = None  # for wishes by mail; None: there are only links
    batch_size: int = 500
    checkpoint: int = 100  # messages
    lease_seconds: int = 60
    workers: int = 1
    domain_rates: tuple[tuple[str, float], ...] = ()  # domains, each with the ms between two messages
    send_window: SendWindow | None = None  # None: always
    uncertain: str = "retry"
    max_failure_rate: float = 0.2
    max_per_person: FrequencyCap | None = None  # None: any number
    suppress_after: int = 3  # campaigns; 0: never
    same_refusals: int = 20  # the last answers of a campaign that are compared; 0: none
    merge_addresses: bool = False
    owner_deactivated: str = "pause"  # what happens to their open campaigns: `pause` or `continue`
    max_body_bytes: int = 1024 * 1024
    rate_limit: str = "10/minute"
    audience_rate_limit: str = "120/minute"
    audience_timeout: int = 20  # seconds
    planning_timeout: int = 300  # seconds
    repeat_window: int = 120  # seconds; 0: off
    key_lifetime: int = 86_400  # seconds for which an Idempotency-Key is known
    audit_retention: int = 730 * 86_400  # seconds
    event_retention: int = 365 * 86_400  # seconds
    journal_dir: str = ""  # where the journal is kept; empty: there is none
    journal_retention: int = 90 * 86_400  # seconds
    trusted_proxies: tuple[str, ...] = ()
    pages: bool = True  # whether people may sign in to `/mailer/`
    session_lifetime: int = 43_200  # seconds for which they stay signed in
    confirm_above: int = 100  # people; who writes to more types the number
    draft_lifetime: int = 90 * 86_400  # seconds after which a draft that nobody saves is deleted
    email_header: str = ""  # HTML, read from the file that the variable names
    email_footer: str = ""
    auth: str = "local"
    send_roles: tuple[str, ...] = ()  # of the workspace, beside admin
    workspace_url: str = ""
    workspace_user_id: str = ""
    workspace_token: str = ""
    sync_every: int | None = None  # seconds
    retention: int | None = None  # seconds after which an ended campaign is purged; None: never
    log_format: str = "console"
    log_level: str = "info"
    mailbox: int | None = None  # how many messages it keeps; 0: none; None: as `settings.mailbox` says
    redirect_to: str = ""  # the address that gets every message instead of its recipient
    only_to: tuple[str, ...] = ()  # the addresses and @domains that get mail; none: all
    metrics: str = ""  # `true`: at the service's own address; else HOST:PORT; empty: nowhere

    @classmethod
    def from_env(cls, *, new_key: bool = True) -> Settings:
        """Read `MAILER_*` from the environment and `.env`; raise `ConfigError` naming the key and the bad value.

        Where no key is set and none is kept, one is made; without `new_key` that is a `ConfigError`.
        """
        variables = environment()
        from_files = secret_files.read(variables, SECRET_VARIABLES)
        env = _Variables({**variables, **from_files})
        with env.prefixed(PREFIX):
            values = {f.name: _read(env, f.name, from_files) for f in fields(cls) if _is_set(env, f.name)}
        if "secret_key" in values:
            return cls(**values)
        if not new_key and not SECRET_KEY_FILE.exists():
            raise ConfigError(f"MAILER_SECRET_KEY: is not set, and no key is kept in {SECRET_KEY_FILE.absolute()}")
        return cls(**{"secret_key": (_kept_secret_key(),), **values})

    def __repr__(self) -> str:
        """Leave out what may hold a secret."""
        return f"Settings(site_url={self.site_url!r}, engine={self.engine!r})"


class _Variables(Env):
    """Reads these variables instead of the process's own."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__()
        self._variables = variables

    @override
    def _get_value(self, env_key: str, default: Any) -> Any:
        return self._variables.get(env_key, default)


def environment() -> Mapping[str, str]:
    """All variables of `.env` and of the environment, which has precedence. Raises `ConfigError` as `env_file.read`."""
    return {**env_file.read(ENV_FILE), **os.environ}


def client_variables() -> Mapping[str, str]:
    """All variables for a command that calls a service; a token that a file holds is among them.

    Raises `ConfigError`, as for secrets of the service.
    """
    variables = environment()
    return {**variables, **secret_files.read(variables, [AUTH_TOKEN])}


def unknown_settings() -> tuple[UnknownName, ...]:
    """The variables that look like settings and are none, probably by a typing mistake. Raises `ConfigError`."""
    known = {f"{PREFIX}{field.name.upper()}" for field in fields(Settings)}
    known |= {name + secret_files.SUFFIX for name in (*SECRET_VARIABLES, AUTH_TOKEN)}
    return unknown_names(environment(), known | set(CLIENT_VARIABLES))


def setting_origins() -> dict[str, str]:
    """Where each setting that is set comes from: `environment`, `.env`, or `file` for a secret that a file holds.

    By the names of the fields; the default has none. A key that was not given is kept in a file, which is named.
    """
    variables, found = environment(), {"secret_key": str(SECRET_KEY_FILE)}
    for name in (field.name for field in fields(Settings)):
        variable = f"{PREFIX}{name.upper()}"
        if variables.get(variable) or (variable in variables and name.endswith("rate_limit")):
            found[name] = "environment" if variable in os.environ else str(ENV_FILE)
        elif variables.get(variable + secret_files.SUFFIX):
            found[name] = "file"
    return found


def log_settings() -> tuple[str, str]:
    """`MAILER_LOG_FORMAT` and `MAILER_LOG_LEVEL`, to be set up before the settings are read; the defaults for bad ones.

    What is bad is refused in the format that this says, when the settings are read.
    """
    try:
        variables = environment()
    except ConfigError:
        variables = os.environ
    form = variables.get(f"{PREFIX}LOG_FORMAT", "")
    level = variables.get(f"{PREFIX}LOG_LEVEL", "")
    return form if form in LOG_FORMATS else LOG_FORMATS[0], level if level in LOG_LEVELS else "info"


def secret_file_warnings() -> tuple[str, ...]:
    """A sentence for each file with a secret that everybody on the machine may read. Raises `ConfigError`."""
    return secret_files.warnings(environment(), SECRET_VARIABLES)


def share_metrics(folder: Path) -> None:
    """Have the processes that are forked from now on count together, in files of this folder.

    prometheus_client takes the folder from the environment, and looks there when it is imported.
    """
    os.environ[METRICS_FOLDER] = str(folder)


def metrics_folder() -> Path | None:
    """The folder in which this process counts together with others; None: it counts alone."""
    folder = os.environ.get(METRICS_FOLDER)
    return Path(folder) if folder else None


def _is_set(env: Env, name: str) -> bool:
    """Whether a variable is set. An empty one is not, except for the rate limits, where it means that there is none.

    Those that keep mail from people are read too, and refused when empty: they are there, so somebody means them.
    """
    value: str | None = env.str(name.upper(), None)
    return value is not None and (value != "" or name.endswith("rate_limit") or name in RESTRAINTS)


def _read(env: Env, name: str, from_files: Collection[str]) -> Any:
    variable = f"{PREFIX}{name.upper()}"
    try:
        return READERS[name](env, name.upper())
    except EnvError as error:
        raw: str = env.str(name.upper())
        value = "the value" if name in SECRET or (name.endswith("_url") and "@" in raw) else repr(raw)
        problem = " ".join(str(error).partition("invalid: ")[2].strip("[]").split())
        shown = variable + secret_files.SUFFIX if variable in from_files else variable
        raise ConfigError(f"{shown}: {value}: {problem}") from error


def _kept_secret_key() -> str:
    """The signing key kept in a file; made at first use, readable by its owner only. Links must outlive a restart."""
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
    if len(key) < readers.MIN_SECRET_LENGTH:
        raise ConfigError(f"MAILER_SECRET_KEY: the key kept in {SECRET_KEY_FILE} is too short; delete or restore it")
    return key
