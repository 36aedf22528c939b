"""How each setting is read, and which of them are secrets."""

from __future__ import annotations

from marshmallow.validate import Range

from mailer.settings import domain_rates, mailbox, readers
from mailer.settings.names import PREFIX
from mailer.settings.per_person import FrequencyCap
from mailer.settings.return_address import ReturnAddress
from mailer.settings.send_window import SendWindow

LOG_FORMATS = ("console", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")
RESTRAINTS = ("redirect_to", "only_to")  # they keep mail from people
SECRET = {"secret_key", "database_url", "listen_url", "transport", "broker_url", "workspace_token"}
SECRET_VARIABLES = tuple(sorted(f"{PREFIX}{name.upper()}" for name in SECRET))  # each may be given by a file
READERS: dict[str, readers.Reader] = {
    "database_url": readers.text(readers.database),
    "state_dir": readers.text(readers.printable),
    "database_prepare": lambda env, name: env.bool(name),
    "listen_url": readers.text(readers.database),
    "transport": readers.text(readers.printable),
    "engine": readers.text(readers.printable),
    "broker_url": readers.text(readers.broker),
    "broker_queue": readers.text(readers.queue_name),
    "broker_timeout": readers.duration(30, 7 * 86_400),
    "slice_seconds": readers.duration(1, 3600),
    "secret_key": readers.listed(readers.long_enough),
    "site_url": readers.http_address,
    "site_name": readers.text(readers.printable),
    "allow_local_links": lambda env, name: env.bool(name),
    "allowed_senders": readers.listed(readers.senders),
    "bounce_address": readers.parsed(ReturnAddress.parse),
    "unsubscribe_address": readers.parsed(ReturnAddress.parse),
    "batch_size": readers.whole(1, 100_000),
    "checkpoint": readers.whole(1, 1000),
    "lease_seconds": readers.whole(5, 3600),
    "workers": readers.whole(1, 64),
    "domain_rates": readers.parsed(domain_rates.parse),
    "send_window": readers.parsed(SendWindow.parse),
    "uncertain": readers.choice("retry", "hold"),
    "max_failure_rate": lambda env, name: env.float(name, validate=Range(0, 1, min_inclusive=False)),
    "max_per_person": readers.parsed(FrequencyCap.parse),
    "suppress_after": readers.whole(0, 100),
    "same_refusals": readers.whole(0, 1000),
    "merge_addresses": lambda env, name: env.bool(name),
    "owner_deactivated": readers.choice("pause", "continue"),
    "max_body_bytes": readers.whole(1024, 64 * 1024 * 1024),
    "rate_limit": readers.text(readers.rate),
    "audience_rate_limit": readers.text(readers.rate),
    "audience_timeout": readers.duration(1, 3600),
    "planning_timeout": readers.duration(1, 86_400),
    "repeat_window": readers.duration(0, 86_400),
    "key_lifetime": readers.duration(3600, 366 * 86_400),
    "audit_retention": readers.duration(86_400, 36_500 * 86_400),
    "event_retention": readers.duration(86_400, 36_500 * 86_400),
    "pages": lambda env, name: env.bool(name),
    "session_lifetime": readers.duration(300, 30 * 86_400),
    "confirm_above": readers.whole(0, 1_000_000_000),
    "draft_lifetime": readers.duration(86_400, 3650 * 86_400),
    "journal_dir": readers.text(readers.printable),
    "journal_retention": readers.duration(86_400, 36_500 * 86_400),
    "trusted_proxies": readers.listed(readers.proxies),
    "email_header": readers.contents,
    "email_footer": readers.contents,
    "auth": readers.choice("local", "workspace"),
    "send_roles": readers.listed(readers.roles),
    "workspace_url": readers.http_address,
    "workspace_user_id": readers.text(readers.header_value),
    "workspace_token": readers.text(readers.header_value),
    "sync_every": readers.duration(60, 365 * 86_400),
    "retention": readers.duration(86_400, 99_999 * 86_400),
    "log_format": readers.choice(*LOG_FORMATS),
    "log_level": readers.choice(*LOG_LEVELS),
    "mailbox": readers.parsed(mailbox.parse),
    "redirect_to": readers.text(readers.address),
    "only_to": readers.listed(readers.addresses),
    "metrics": readers.metrics,
}
DURATIONS = {name for name, reader in READERS.items() if isinstance(reader, readers.duration)}  # they are seconds
FILES = {name for name, reader in READERS.items() if reader is readers.contents}  # whose variable names a file
