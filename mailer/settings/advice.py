"""Settings that work and are probably mistakes: whoever starts the service is told of them."""

from __future__ import annotations

import logging
from functools import cache

from mailer.settings import site_address
from mailer.settings.settings import Settings, secret_file_warnings, unknown_settings

log = logging.getLogger("mailer")


def setting_warnings(settings: Settings) -> tuple[str, ...]:
    """Return a sentence for each setting that works but is probably a mistake."""
    open_to_all = site_address.smtp_hosts(settings.transport) and not settings.allowed_senders
    senders = ("MAILER_ALLOWED_SENDERS is empty: callers may send as any address",) if open_to_all else ()
    return (*senders, *site_address.warnings_about(settings.site_url), *staging_warnings(settings))


def staging_warnings(settings: Settings) -> tuple[str, ...]:
    """A sentence if mail does not reach all who should get it, since this is no production. It names no address."""
    if settings.redirect_to:
        return ("MAILER_REDIRECT_TO is set: every message goes to one address, and none to its recipient",)
    if settings.only_to:
        return ("MAILER_ONLY_TO is set: only some addresses get mail, and all others are skipped",)
    return ()


def settings_with_warnings() -> Settings:
    """Read the settings. Raises `ConfigError`.

    Logged once: unknown variables, files with secrets that everybody may read, and if mail goes out over SMTP, each
    setting that is probably a mistake.
    """
    for unknown in unknown_settings():
        _warn(str(unknown))
    for warning in secret_file_warnings():
        _warn(warning)
    settings = Settings.from_env()
    for warning in setting_warnings(settings) if site_address.smtp_hosts(settings.transport) else ():
        _warn(warning)
    return settings


@cache
def _warn(text: str) -> None:
    log.warning(text)  # once, and not again in the processes that are forked from this one
