"""The settings in an `smtp://` or `smtps://` URL, checked before anything is opened."""

from __future__ import annotations

import hashlib
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from transports import rate_options
from transports.base import TransportConfigError
from transports.options import Options, is_loopback, split_url
from transports.rate import Rate
from transports.smtp.auth import Credentials
from transports.smtp.dialogue import Timeouts

PORTS = {"smtp": 587, "smtps": 465}
OPTIONS = (
    "auth",
    "bdat",
    "cafile",
    "command_timeout",
    "connect_timeout",
    "connections",
    "data_timeout",
    "dsn",
    "helo",
    "idle",
    "max_messages",
    "pipelining",
    "starttls",
    "token_command",
    "token_file",
    *rate_options.OPTIONS,
)
HELO = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,253}|\[[A-Za-z0-9.:]+\]", re.ASCII)
MECHANISMS = ("auto", "plain", "login", "cram-md5", "xoauth2")


@dataclass(frozen=True, slots=True)
class SMTPSettings:
    """One server and how to send to it. Times are in seconds. Its `repr` shows no secret."""

    host: str
    port: int
    implicit_tls: bool
    starttls: bool
    context: ssl.SSLContext | None = field(repr=False)
    credentials: Credentials | None
    helo: str  # empty: the connection's own address
    connect_timeout: float
    timeouts: Timeouts
    connections: int
    max_messages: int
    idle: float
    notify: str  # NOTIFY's value (RFC 3461 section 4.1), empty for the server's default
    bdat: bool
    pipelining: bool
    rate: Rate | None = field(repr=False)

    @property
    def endpoint(self) -> str:
        """`host:port`, as error messages name it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def from_url(cls, url: str) -> SMTPSettings:
        """Parse. Raises `TransportConfigError` for whatever is unknown, malformed or contradictory."""
        parts = split_url(url)
        options = Options(parts.scheme, parts.query, OPTIONS)
        authority = _authority(parts.scheme, parts.rest)
        host, port = _host(parts.scheme, authority), authority.port or PORTS[parts.scheme]
        starttls = _starttls(parts.scheme, options, host)
        secure = starttls or parts.scheme == "smtps"
        credentials = _credentials(parts.scheme, authority, options)
        if credentials is not None and not secure and not is_loopback(host):
            raise TransportConfigError(f"{parts.scheme}: a login needs TLS unless the host is loopback")
        return cls(
            host=host,
            port=port,
            implicit_tls=parts.scheme == "smtps",
            starttls=starttls,
            context=_context(parts.scheme, options, secure),
            credentials=credentials,
            helo=_helo(parts.scheme, options),
            connect_timeout=options.duration("connect_timeout", 30.0),
            timeouts=Timeouts(options.duration("command_timeout", 300.0), options.duration("data_timeout", 600.0)),
            connections=options.integer("connections", 4, 1, 1000),
            max_messages=options.integer("max_messages", 1000, 1, 10**9),
            idle=options.duration("idle", 30.0),
            notify=_notify(parts.scheme, options),
            bdat=options.flag("bdat", False),
            pipelining=options.flag("pipelining", True),
            rate=Rate.from_options(options, _key(host, port, credentials)),
        )


def _authority(scheme: str, rest: str) -> SplitResult:
    try:
        found = urlsplit(rest)
        malformed = not rest.startswith("//") or found.path not in {"", "/"} or bool(found.fragment) or found.port == 0
    except ValueError:
        malformed = True
    if malformed:
        raise TransportConfigError(
            f"{scheme}: expected {scheme}://[user[:password]@]host[:port]; percent-encode /, ?, # and @ in a password"
        )
    return found


def _host(scheme: str, authority: SplitResult) -> str:
    host = authority.hostname or ""
    try:
        name = host if ":" in host else host.encode("idna").decode()
    except UnicodeError as error:
        raise TransportConfigError(f"{scheme}: the host is not a valid name") from error
    if not re.fullmatch(r"[A-Za-z0-9_.-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9]+)?", name):
        raise TransportConfigError(f"{scheme}: the host is missing or not a valid name")
    return name


def _starttls(scheme: str, options: Options, host: str) -> bool:
    mode = options.choice("starttls", ("auto", "require", "never"), "auto")
    if scheme == "smtps" and mode != "auto":
        raise TransportConfigError("smtps: starttls makes no sense here, the connection is TLS from its start")
    if mode == "auto":
        return scheme == "smtp" and not is_loopback(host)
    return mode == "require"


def _context(scheme: str, options: Options, secure: bool) -> ssl.SSLContext | None:
    cafile = options.text("cafile")
    if not secure:
        if cafile:
            raise TransportConfigError(f"{scheme}: cafile is given but the connection would not use TLS")
        return None
    try:
        return ssl.create_default_context(cafile=cafile or None)
    except OSError as error:
        raise TransportConfigError(f"{scheme}: cafile cannot be read as certificates in PEM form") from error


def _credentials(scheme: str, authority: SplitResult, options: Options) -> Credentials | None:
    mechanism = options.choice("auth", MECHANISMS, "auto").upper().replace("AUTO", "")
    user, password = unquote(authority.username or ""), unquote(authority.password or "")
    sources = [name for name in ("token_file", "token_command") if options.text(name)]
    if not user:
        if mechanism or sources or password:
            raise TransportConfigError(f"{scheme}: a way to log in is given but no user name")
        return None
    if (mechanism == "XOAUTH2") != bool(sources) or len(sources) > 1:
        raise TransportConfigError(
            f"{scheme}: auth=xoauth2 and exactly one of token_file and token_command go together"
        )
    if bool(password) == bool(sources):
        raise TransportConfigError(f"{scheme}: a user name needs either a password or, with auth=xoauth2, a token")
    if "\0" in user + password:
        raise TransportConfigError(f"{scheme}: the user name or password has a character that cannot be sent")
    if options.text("token_file") and not Path(options.text("token_file")).is_file():
        raise TransportConfigError(f"{scheme}: token_file does not exist")
    return Credentials(user, password, mechanism, options.text("token_file"), options.text("token_command"))


def _helo(scheme: str, options: Options) -> str:
    name = options.text("helo")
    if name and not HELO.fullmatch(name):
        raise TransportConfigError(f"{scheme}: option 'helo' is not a host name")
    return name


def _notify(scheme: str, options: Options) -> str:
    words = options.text("dsn").upper().split(",") if options.text("dsn") else []
    if not set(words) <= {"NEVER", "SUCCESS", "FAILURE", "DELAY"} or ("NEVER" in words and len(words) > 1):
        raise TransportConfigError(f"{scheme}: option 'dsn' is never, or a list of success, failure and delay")
    return ",".join(words)


def _key(host: str, port: int, credentials: Credentials | None) -> str:
    """Whose limits they are: those of an account at a server. The account is not shown, only a part of its digest."""
    account = f" account {hashlib.sha256(credentials.user.encode()).hexdigest()[:8]}" if credentials else ""
    return f"smtp {host}:{port}{account}"
