"""The broker as the settings name it: which kinds there are, and what cannot work with it."""

from __future__ import annotations

import re
import ssl
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from sqlalchemy.engine import make_url

from mailer.errors import ConfigError
from mailer.settings import Settings

SLICES_PER_TIMEOUT = 3  # how many slices must fit into the broker's timeout, so that no slow machine comes near it
ANSWER_SECONDS = 3.0  # how long a broker may take to answer whoever rings


def is_redis(settings: Settings) -> bool:
    """Whether the broker is Redis; else it is RabbitMQ."""
    return urlsplit(settings.broker_url).scheme in ("redis", "rediss")


def place(settings: Settings) -> str:
    """The host and the port of the broker, to be shown."""
    return urlsplit(shown(settings.broker_url)).netloc


def shown(url: str) -> str:
    """The broker's URL without users, passwords and options, also where it names several brokers and is refused."""
    found = []
    for one in url.split(";"):
        scheme, mark, rest = one.partition("://")
        # a password may have any character, so what is before the last @ goes before anything else is looked at
        found.append(scheme + mark + re.split("[?#]", rest.rpartition("@")[2])[0] if mark else "***")
    return ";".join(found) if url else ""


def check(settings: Settings) -> None:
    """Raise `ConfigError` if the engine cannot work with these settings."""
    if make_url(settings.database_url).get_backend_name() == "sqlite":
        raise ConfigError(
            "MAILER_ENGINE: celery needs PostgreSQL, since its workers may run on any machine, and MAILER_DATABASE_URL "
            "names SQLite; use MAILER_ENGINE=local, or set MAILER_DATABASE_URL=postgresql://…"
        )
    if not settings.broker_url:
        raise ConfigError("MAILER_ENGINE: celery needs MAILER_BROKER_URL: amqp://… for RabbitMQ, or redis://…")
    _check_url(settings.broker_url)
    if is_redis(settings) and find_spec("redis") is None:
        raise ConfigError("MAILER_BROKER_URL: Redis needs: pip install 'campaign-mailer[celery]'")
    longest = settings.broker_timeout // SLICES_PER_TIMEOUT
    if settings.slice_seconds > longest:
        raise ConfigError(
            f"MAILER_SLICE_SECONDS: {settings.slice_seconds} s is too long: the broker hands a message out again after "
            f"MAILER_BROKER_TIMEOUT, {settings.broker_timeout} s, so {longest} s is the longest"
        )


def _check_url(url: str) -> None:
    """Refuse what Celery would read otherwise than it was meant, or fail at later. The URL, a secret, is not shown."""
    parts = urlsplit(url)
    if "@" in f"{parts.path}{parts.query}" or parts.fragment or ";" in url:
        raise ConfigError(
            "MAILER_BROKER_URL: not the URL of one broker; in a user, a password and a vhost, each of @ : / ? # ; % is "
            "written as %40 %3A %2F %3F %23 %3B %25"
        )
    redis = parts.scheme in ("redis", "rediss")
    if redis and not (parts.path in ("", "/") or parts.path[1:].isdecimal()):
        raise ConfigError("MAILER_BROKER_URL: what follows the host of a Redis is the number of a database, such as /0")
    options = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    if not all(parts.scheme == "rediss" and name.startswith("ssl_") for name in options):
        raise ConfigError("MAILER_BROKER_URL: takes no options behind a question mark, but for ssl_… with rediss://…")


def transport_options(settings: Settings) -> dict[str, Any]:
    """What Celery passes on to the client of the broker."""
    if is_redis(settings):
        return {
            "visibility_timeout": settings.broker_timeout,
            "global_keyprefix": f"{settings.broker_queue}:",
            "socket_connect_timeout": ANSWER_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": 10,
        }
    return {"confirm_publish": True}


def ringing_options(settings: Settings) -> dict[str, Any]:
    """The same for a connection by which one only rings: no answer is waited for long."""
    if is_redis(settings):
        return {"socket_timeout": ANSWER_SECONDS, "retry_on_timeout": False}
    return {"read_timeout": ANSWER_SECONDS, "write_timeout": ANSWER_SECONDS}


def encryption(settings: Settings) -> dict[str, Any] | None:
    """How `amqps` and `rediss` are encrypted: the broker's certificate has to be good, and for its name."""
    parts = urlsplit(settings.broker_url)
    if parts.scheme == "rediss":
        return {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
    return {"server_hostname": parts.hostname} if parts.scheme == "amqps" else None  # without a name none is compared


def queue_arguments(settings: Settings) -> dict[str, Any]:
    """What the queue is declared with. Celery looks here for quorum queues, which take no global prefetch count."""
    return {} if is_redis(settings) else {"x-queue-type": "quorum", "x-max-length": 100}
