"""From the name in `MAILER_ENGINE` to an engine: the built-in ones, then the entry-point group `mailer.engines`."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from mailer.engines.base import Engine
from mailer.errors import ConfigError

GROUP = "mailer.engines"

# Also declared as entry points; listed here so that a checkout works before, and whatever, metadata is installed.
BUILT_IN = {"local": "mailer.engines.local:LocalEngine"}


def known_engines() -> tuple[str, ...]:
    """Every name that `MAILER_ENGINE` may have, sorted."""
    return tuple(sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))}))


def engine_class(name: str) -> type[Engine]:
    """The class that `name` stands for. A built-in name cannot be taken over by a third party's package.

    Raises `ConfigError` if there is no such engine, which lists the known ones, or if its class cannot be imported.
    """
    target = BUILT_IN.get(name) or _entry_point(name)
    module, _, attribute = target.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"MAILER_ENGINE: {name}: {target} cannot be loaded: {error}") from error
    if not isinstance(found, type) or not issubclass(found, Engine):
        raise ConfigError(f"MAILER_ENGINE: {name}: {target} is not an Engine")
    return found


def _entry_point(name: str) -> str:
    targets = sorted({point.value for point in entry_points(group=GROUP, name=name)})
    if not targets:
        raise ConfigError(f"MAILER_ENGINE: {name!r}: unknown engine; known engines: {', '.join(known_engines())}")
    if len(targets) > 1:
        raise ConfigError(f"MAILER_ENGINE: {name}: more than one package offers it: {', '.join(targets)}")
    return targets[0]
