"""From a URL's scheme to the class behind it: the built-in ones, then the entry-point group `mailer.transports`."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from transports.base import Transport, TransportConfigError
from transports.options import split_url

GROUP = "mailer.transports"

# They are declared as entry points too. Listed here, they also work in a checkout whose metadata is not installed.
BUILT_IN = {
    "console": "transports.console:ConsoleTransport",
    "dkim": "transports.dkim:DKIMTransport",
    "failover": "transports.failover:FailoverTransport",
    "file": "transports.file:FileTransport",
    "memory": "transports.memory:MemoryTransport",
    "roundrobin": "transports.failover:RoundRobinTransport",
    "smtp": "transports.smtp:SMTPTransport",
    "smtps": "transports.smtp:SMTPTransport",
    "webhook": "transports.webhook:WebhookTransport",
}


def from_url(url: str) -> Transport:
    """Build the transport that `url` describes.

    Raises `TransportConfigError` for an unknown scheme, which lists the known ones, and for whatever the transport's
    own `from_url` refuses. A built-in scheme cannot be taken over by a third party's package.
    """
    scheme = split_url(url).scheme
    return transport_class(scheme).from_url(url)


def shown_url(url: str) -> str:
    """`url` without what is secret in it, as its transport knows, which may hold others. Never raises."""
    try:
        return transport_class(split_url(url).scheme).shown(url)
    except TransportConfigError:
        return "***"


def known_schemes() -> tuple[str, ...]:
    """Every scheme that `from_url` takes, sorted."""
    return tuple(sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))}))


def transport_class(scheme: str) -> type[Transport]:
    """The class that `scheme` stands for. Raises `TransportConfigError` if there is none, or it cannot be imported."""
    target = BUILT_IN.get(scheme) or _entry_point(scheme)
    module, _, name = target.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise TransportConfigError(f"{scheme}: {target} cannot be loaded: {error}") from error
    if not isinstance(found, type) or not issubclass(found, Transport):
        raise TransportConfigError(f"{scheme}: {target} is not a Transport")
    return found


def _entry_point(scheme: str) -> str:
    targets = sorted({point.value for point in entry_points(group=GROUP, name=scheme)})
    if not targets:
        known = ", ".join(known_schemes())
        raise TransportConfigError(f"unknown transport scheme {scheme!r}; known schemes: {known}")
    if len(targets) > 1:
        raise TransportConfigError(f"{scheme}: more than one package offers it: {', '.join(targets)}")
    return targets[0]
