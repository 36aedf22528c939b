"""Find the engine that `MAILER_ENGINE` names: a built-in one, or one from the entry-point group `mailer.engines`."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from mailer.engines.base import Engine
from mailer.errors import ConfigError

GROUP = "mailer.engines"

# They are declared as entry points too. The list makes a checkout work whose metadata is not installed, or is outdated.
BUILT_IN = {
    "celery": "mailer.engines.celery.engine:CeleryEngine",
    "external": "mailer.engines.external:ExternalEngine",
    "local": "mailer.engines.local:LocalEngine",
}
EXTRAS = {"celery": "celery"}  # what must be installed for a built-in engine, beside the service itself


def known_engines() -> tuple[str, ...]:
    """Return every name that `MAILER_ENGINE` may have, sorted."""
    return tuple(sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))}))


def engine_class(name: str) -> type[Engine]:
    """Return the engine class called `name`. A third party's package cannot replace a built-in one.

    Raises `ConfigError` if there is no such engine (the message lists the known ones), if several packages offer it, or
    if what they offer cannot be imported or is no engine.
    """
    target = BUILT_IN.get(name) or _entry_point(name)
    module, _, attribute = target.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        install = f"; it needs: pip install 'campaign-mailer[{EXTRAS[name]}]'" if name in EXTRAS else ""
        raise ConfigError(f"MAILER_ENGINE: {name}: {target} cannot be loaded: {error}{install}") from error
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
