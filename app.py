"""The composition root: the one place that chooses the concrete parts of the service and joins them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Flask

from mailer.api.errors import protect, register_errors
from mailer.api.guard import ConcurrencyLimit
from mailer.api.openapi import service_version
from mailer.api.registration import ApiParts, SynchronousFlask, add_api
from mailer.api.requests.bodies import WholeBodies
from mailer.api.requests.paths import KeptSlashes, PathPart
from mailer.api.requests.request_ids import RequestIds, tell_requests
from mailer.audience.field_values import KnownFieldValues
from mailer.audit.retention import audit_retention
from mailer.bounces.recording import Recorder
from mailer.bounces.report import Record
from mailer.bounces.scheduled_reading import BounceReading
from mailer.callers.selection import Callers, callers_for
from mailer.callers.tokens import Tokens
from mailer.campaigns.planning import Planner
from mailer.campaigns.retention import retention_task
from mailer.campaigns.saved_drafts import draft_retention
from mailer.campaigns.signing.keys import SigningKeys
from mailer.delivery.checkpoints.frequency_cap import forgetting_task
from mailer.delivery.deliverer import Deliverer
from mailer.delivery.flight.folder import folder_for
from mailer.delivery.flight.recorder import Recorders
from mailer.delivery.flight.takeover import Takeover
from mailer.delivery.outbox import Outbox
from mailer.engines import Engine, EngineParts, engine_class
from mailer.errors import ConfigError
from mailer.interception.rules import interception
from mailer.interception.transport import intercepted
from mailer.mailbox.arriving import kept_in_mailbox
from mailer.mailbox.trimming import mailbox_trimming
from mailer.messages.links import Links, PreviewLinks
from mailer.metrics.optional import serve_metrics, watched
from mailer.observer import UNOBSERVED
from mailer.operation.health import health_of
from mailer.operation.standing import Operation
from mailer.pacing.admission import Admission
from mailer.pacing.domain_slots import DomainSlots
from mailer.pacing.shared_slots import SharedSlots
from mailer.pages import documentation, signed_in_pages, unsubscribe
from mailer.pages.base import MAX_FORM_BYTES
from mailer.pages.parts import PageParts
from mailer.selector import database_at
from mailer.settings import Settings, mailbox, setting_origins
from mailer.settings.advice import settings_with_warnings
from mailer.settings.combinations import refuse_impossible
from mailer.storage.clock_watch import ClockWatch
from mailer.storage.database import Database
from mailer.storage.journal.writer import journal_at
from mailer.storage.notifications import listener_for
from mailer.storage.periodic_task import PeriodicTask
from mailer.storage.workers import Heartbeat
from mailer.timeline.retention import event_retention
from mailer.workspace.scheduled_sync import SyncTask
from transports import Transport, TransportConfigError, from_url
from transports.rate import share

if TYPE_CHECKING:
    from mailer.metrics.instruments import Instruments

log = logging.getLogger("mailer")


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a running service, for the web app, the worker and the command line."""

    settings: Settings
    db: Database
    tokens: Tokens
    transport: Transport
    links: Links
    keys: SigningKeys
    engine: Engine
    tasks: Mapping[str, PeriodicTask]  # by the name under which `/readyz` shows them
    directory_reads: ConcurrencyLimit
    field_values: KnownFieldValues
    instruments: Instruments | None  # None: nobody counts
    record: Record  # what came back


def build(settings: Settings, *, role: str = "worker") -> Services:
    """Make the parts, and create or migrate the database's schema. Raises `ConfigError` for settings that cannot work.

    It starts no thread and opens no connection but the database's. `role` is what `mailer status` calls the process.
    """
    try:
        transport = from_url(settings.transport)
    except TransportConfigError as error:
        raise ConfigError(f"MAILER_TRANSPORT: {error}") from error
    engine = engine_class(settings.engine)
    engine.check(settings)
    refuse_impossible(settings)
    staging, keeps = interception(settings), mailbox.kept(settings.mailbox, settings.transport)
    db = database_at(settings.database_url, prepare=settings.database_prepare)
    listener = listener_for(db, settings.listen_url)
    if db.migrate():
        log.warning("a new database was made: %s", db.place)
    db.journal = journal_at(db, settings.journal_dir, settings.journal_retention)
    share(transport, SharedSlots(db))
    transport = kept_in_mailbox(db, transport, keeps)
    instruments, transport = watched(settings, db, transport)
    transport = intercepted(transport, staging)
    observer = instruments or UNOBSERVED
    lease = settings.lease_seconds * 1000
    domains, records = DomainSlots(dict(settings.domain_rates)), folder_for(db, settings.state_dir)
    links = Links(settings.secret_key, settings.site_url)
    keys = SigningKeys(db, links.fingerprints, signs=not staging.redirect_to)
    outbox = Outbox(
        db,
        lease=lease,
        uncertain=settings.uncertain,
        max_failure_rate=settings.max_failure_rate,
        suppress_after=settings.suppress_after,
        bounces=settings.bounce_address is not None,
        same_refusals=settings.same_refusals,
        observer=observer,
        recorders=Recorders(records, settings.checkpoint),
        admission=Admission(domains, settings.send_window),
        interception=staging,
        batch_ended=keys.ended_batch,
        cap=settings.max_per_person,
    )
    sent = PreviewLinks(settings.secret_key, settings.site_url) if staging.redirect_to else links
    deliverer = Deliverer(outbox, transport, sent, settings, partial(keys.template_of, settings), observer)
    limit, merge = float(settings.planning_timeout), settings.merge_addresses
    how = (db, settings.batch_size, lease)
    planner = Planner(*how, merge=merge, limit=limit, domains=domains, observer=observer, keys=keys)
    record = Recorder(db, settings, observer).record
    tasks = _scheduled_tasks(db, settings, lease, record)
    about = {"engine": settings.engine, "role": role, "version": service_version()}
    seen = Heartbeat(db, **about, doing=deliverer.in_hand)
    loops = {"clock": ClockWatch(db, lease).run_periodically, "workers": seen.run_periodically}
    loops["flight"] = Takeover(db, records).run_periodically
    loops["mailbox"] = mailbox_trimming(db, keeps, lease).run_periodically
    loops["audit"] = audit_retention(db, settings.audit_retention * 1000, lease).run_periodically
    loops["events"] = event_retention(db, settings.event_retention * 1000, lease).run_periodically
    loops["drafts"] = draft_retention(db, settings.draft_lifetime * 1000, lease).run_periodically
    loops["recent"] = forgetting_task(db, settings.max_per_person, lease).run_periodically
    loops |= {name: task.run_periodically for name, task in tasks.items()}
    loops |= {} if listener is None else {"listener": listener.run}
    parts = EngineParts(
        deliverer,
        planner,
        settings,
        db,
        loops,
        observer,
        announced=listener.hears if listener else bool,
        of_each_process={"workers", "flight"},
        after_fork=partial(serve_metrics, settings, instruments),
        before_exit=transport.close,
    )
    made = engine(parts)
    if listener is not None:
        listener.on_work = made.wake
    reads, known = ConcurrencyLimit(), KnownFieldValues(db)
    return Services(settings, db, Tokens(db), transport, links, keys, made, tasks, reads, known, instruments, record)


def _scheduled_tasks(db: Database, settings: Settings, lease: int, record: Record) -> dict[str, PeriodicTask]:
    """The tasks that the settings ask for. `lease` is in ms."""
    tasks: dict[str, PeriodicTask] = {}
    if settings.sync_every is not None:
        tasks["sync"] = SyncTask(db, settings)
    if settings.retention is not None:
        tasks["retention"] = retention_task(db, settings.retention * 1000, lease, settings.key_lifetime * 1000)
    place, password = settings.bounce_mailbox, settings.bounce_mailbox_password
    if place is not None:
        tasks["bounces"] = BounceReading(db, place, password, record, lease)
    return tasks


def create_app(settings: Settings | None = None) -> Flask:
    """Make the WSGI application. The server starts its engine, `app.extensions["mailer"].engine`, after the fork."""
    origins = setting_origins() if settings is None else {}
    settings = settings or settings_with_warnings()
    services = build(settings, role="web")
    services.keys.register()
    app = SynchronousFlask(__name__, static_folder=None)
    app.extensions["mailer"] = services
    _configure(app, settings)
    callers = callers_for(settings, services.db, services.tokens)
    operation = _operation(services, origins)
    add_api(app, ApiParts(**_parts(services, callers, operation), record=services.record))
    _add_pages(app, services, callers, operation)
    if services.instruments is not None:
        from mailer.metrics.page import add_metrics  # noqa: PLC0415 - only where they are wanted

        add_metrics(app, services.instruments, settings.metrics)
    return app


def _configure(app: Flask, settings: Settings) -> None:
    """Set up what holds for every request, whatever its path."""
    app.config.update(MAX_CONTENT_LENGTH=settings.max_body_bytes, MAX_FORM_MEMORY_SIZE=MAX_FORM_BYTES)
    app.url_map.converters["default"] = app.url_map.converters["string"] = PathPart
    app.wsgi_app = RequestIds(KeptSlashes(WholeBodies(app.wsgi_app)))  # type: ignore[method-assign]
    app.json.sort_keys = False  # type: ignore[attr-defined]  # fields stay in the order of the documentation
    register_errors(app)
    protect(app)
    tell_requests(app)


def _operation(services: Services, origins: Mapping[str, str]) -> Operation:
    settings, db = services.settings, services.db
    troubles = {name: task.trouble for name, task in services.tasks.items()}
    health = health_of(settings, db, services.transport, services.engine, troubles, services.keys.fingerprints)
    return Operation(db, settings, health, origins)


def _parts(services: Services, callers: Callers, operation: Operation) -> dict[str, Any]:
    """What both the API and the pages work with, by the names that both have for it."""
    return {
        "settings": services.settings,
        "db": services.db,
        "engine": services.engine,
        "transport": services.transport,
        "links": services.links,
        "callers": callers,
        "observer": services.instruments or UNOBSERVED,
        "directory_reads": services.directory_reads,
        "operation": operation,
        "field_values": services.field_values,
    }


def _add_pages(app: Flask, services: Services, callers: Callers, operation: Operation) -> None:
    """Add the HTML pages. Those for recipients come last, since they have the errors below their own address."""
    settings = services.settings
    if settings.pages:
        app.register_blueprint(signed_in_pages.make_blueprint(PageParts(**_parts(services, callers, operation))))
    links, used = services.links, partial(services.keys.used, services.links)
    shared = settings.merge_addresses
    app.register_blueprint(unsubscribe.make_blueprint(links, services.db, settings.site_name, merge=shared, used=used))
    app.register_blueprint(documentation.make_blueprint("Mailer"))
