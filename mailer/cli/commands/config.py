"""`mailer config check`: the settings in force, checked without sending anything."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from app import Services, build
from mailer.bounces.mailboxes.opening import trouble_with as trouble_with_mailbox
from mailer.campaigns.signing.needed import missing_keys
from mailer.cli.commands.operation.findings import RESOLVER, SENDING_IP
from mailer.cli.failures import Failure, Misuse
from mailer.cli.output import print_fields, print_json, print_notes
from mailer.delivery.flight.folder import RecordFolder, folder_for
from mailer.delivery.flight.trial import passing_place, trouble_with
from mailer.dns_records.alignment import alignment_warnings
from mailer.dns_records.lookups import Address
from mailer.engines.celery import broker
from mailer.errors import ConfigError
from mailer.pacing.shared_slots import in_words
from mailer.settings import ENV_FILE, Settings, secret_file_warnings, unknown_settings
from mailer.settings.advice import setting_warnings
from transports import Transport, TransportUnavailable
from transports.dkim.records import keys_in, warnings_about
from transports.registry import shown_url
from transports.slots import says_used_up

if TYPE_CHECKING:
    from mailer.cli.commands.operation.online import Online


@click.group()
def config() -> None:
    """The settings."""


@config.command()
@click.option("--online", is_flag=True, help="Also ask the DNS about the domains that mail is sent from.")
@SENDING_IP
@RESOLVER
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object; of a part that works, the problem is null.")
def check(online: bool, addresses: tuple[Address, ...], resolver: tuple[str, int] | None, as_json: bool) -> None:
    """Show the settings in force and check them, the database, the folders for flight records and the journal, the
    transport, the broker and the mailbox of bounces, sending nothing.

    Exit code 2 if a setting is wrong or is none that there is, 1 if something does not answer, or with --online if
    something is wrong in the DNS.
    """
    if (addresses or resolver) and not online:
        raise click.UsageError("--ip and --resolver go with --online")
    env_file = ENV_FILE.absolute()
    if not as_json:
        there = "read" if env_file.exists() else "none there"
        print_fields([("folder", env_file.parent), (".env", there)])
    unknown = [str(one) for one in unknown_settings()]
    try:
        settings = Settings.from_env()
        in_force, found, notes = _examine(settings)
    except ConfigError as error:
        raise Misuse("; ".join([str(error), *unknown])) from error
    asked = _asked(settings, addresses, resolver) if online else None
    found |= asked.troubles if asked else {}
    problems = {"settings": "; ".join(unknown) or None, "database": None, **found}
    warnings = (*secret_file_warnings(), *setting_warnings(settings), *alignment_warnings(settings), *notes)
    warnings += asked.notes if asked else ()
    if as_json:
        more = {"online": asked.records} if asked else {}
        print_json({**problems, "folder": str(env_file.parent), "inForce": in_force, "warnings": warnings, **more})
    else:
        print_fields(in_force.items())
        print_notes(warnings)
        print_fields((part, "ok") for part, trouble in problems.items() if trouble is None)
        if asked:
            asked.show()
    if unknown:
        raise Misuse(str(problems["settings"]))
    if any(found.values()):
        raise Failure("; ".join(f"{part}: {trouble}" for part, trouble in found.items() if trouble))


def _asked(settings: Settings, addresses: Sequence[Address], resolver: tuple[str, int] | None) -> Online:
    # imported here, since only then the libraries that speak to the DNS and read keys are needed
    from mailer.cli.commands.operation.online import look_online  # noqa: PLC0415

    return look_online(settings, addresses, resolver)


def _examine(settings: Settings) -> tuple[dict[str, str], dict[str, str | None], tuple[str, ...]]:
    """What is in force, with no secret in it; the trouble of each part beside the database; and what to think about."""
    services = build(settings)
    shown = {"database": services.db.place, "transport": shown_url(settings.transport)}
    shown |= {"site": settings.site_url, "engine": settings.engine, **_shown_if_set(settings)}
    records = folder_for(services.db, settings.state_dir)
    found, notes = {"state": trouble_with(records)}, (*_notes(records), *_notes_on_record(services))
    notes += warnings_about(settings.transport)
    found |= {"journal": services.db.journal.trouble()} if services.db.journal is not None else {}
    if place := settings.bounce_mailbox:
        found |= {"bounces": trouble_with_mailbox(place, settings.bounce_mailbox_password)}
    try:
        if rates := in_words(services.db, services.transport):
            shown["rates"] = "; ".join(rates)
        return shown, {**found, "transport": _trouble_of(services.transport), **services.engine.unreachable()}, notes
    except TransportUnavailable as error:
        return shown, {**found, "transport": str(error)}, notes
    finally:
        services.transport.close()
        services.db.close()


def _notes(records: RecordFolder) -> tuple[str, ...]:
    place = passing_place(records)
    said = f"MAILER_STATE_DIR: {records.path} is in {place} and does not outlive a container; use a volume there"
    return (said,) if place else ()


def _notes_on_record(services: Services) -> tuple[str, ...]:
    return (*services.tokens.ending_soon(), *missing_keys(services.db, services.keys.fingerprints))


def _trouble_of(transport: Transport) -> str | None:
    """Why the transport does not work. A quota that is used up for the day is none: `rates` tells it."""
    try:
        transport.check()
    except TransportUnavailable as error:
        words = str(error) or "does not answer"
        return None if says_used_up(words) else words
    return None


def _shown_if_set(settings: Settings) -> dict[str, str]:
    """What says where, when and how much is sent, forgotten and counted, as far as it is set."""
    window = settings.send_window
    rates = [f"{domain} {1000 / interval:g}/second" for domain, interval in settings.domain_rates]
    shown = {
        "broker": broker.shown(settings.broker_url),
        "signing": ", ".join(key.name for key in keys_in(settings.transport) if key.in_force(time.time())),
        "domainRates": ", ".join(rates),
        "sendWindow": window.in_words(time.time() * 1000) if window else "",
        "maxPerPerson": str(settings.max_per_person or ""),
        "bounceMailbox": str(settings.bounce_mailbox or ""),
        "retention": f"{settings.retention / 86_400:g} days" if settings.retention else "",
        "metrics": settings.metrics,
    }
    return {name: text for name, text in shown.items() if text}
