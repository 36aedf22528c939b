"""Settings that are fine one by one and cannot work together: the service refuses to start with them."""

from __future__ import annotations

from mailer.errors import ConfigError
from mailer.settings import mailbox, site_address
from mailer.settings.settings import Settings


def refuse_impossible(settings: Settings) -> None:
    """Raise `ConfigError` for the first combination that cannot work."""
    _links(settings)
    if settings.auth == "workspace" and not settings.workspace_url:
        raise ConfigError("MAILER_AUTH: 'workspace' needs MAILER_WORKSPACE_URL")
    _sync(settings)
    if settings.redirect_to and settings.only_to:
        raise ConfigError("MAILER_REDIRECT_TO and MAILER_ONLY_TO: only one of them can be set")
    if settings.mailbox and not mailbox.stays_here(settings.transport):
        raise ConfigError("MAILER_MAILBOX: only messages of console:, file: and memory: can be kept; leave it out")
    if settings.bounce_mailbox and settings.bounce_mailbox.host and not settings.bounce_mailbox_password:
        raise ConfigError("MAILER_BOUNCE_MAILBOX: imaps://… needs MAILER_BOUNCE_MAILBOX_PASSWORD")


def _links(settings: Settings) -> None:
    """Refuse mail whose links recipients could not follow."""
    if site_address.links_lead_nowhere(settings.site_url, settings.transport) and not settings.allow_local_links:
        raise ConfigError(
            f"MAILER_SITE_URL: {settings.site_url}: recipients elsewhere cannot follow links to this machine; "
            "name the address under which they reach this service, or set MAILER_ALLOW_LOCAL_LINKS=true"
        )


def _sync(settings: Settings) -> None:
    """Refuse a scheduled sync that lacks what it needs to call the workspace."""
    if settings.sync_every is None:
        return
    needed = ("workspace_url", "workspace_user_id", "workspace_token")
    missing = [f"MAILER_{name.upper()}" for name in needed if not getattr(settings, name)]
    if missing:
        raise ConfigError(f"MAILER_SYNC_EVERY: needs {' and '.join(missing)}")
