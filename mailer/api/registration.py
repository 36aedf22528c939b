"""The JSON API as a whole: its resources, its OpenAPI document, and the health checks, which are part of neither."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Flask
from typing_extensions import override

from mailer.api import health
from mailer.api.errors import EnvelopeApi
from mailer.api.guard import ConcurrencyLimit, Guard
from mailer.api.mailpit import routes as mailpit
from mailer.api.openapi import service_version, spec_options
from mailer.api.resources import (
    audience,
    campaigns,
    control,
    mailer,
    operators,
    people,
    reports,
    revisions,
    sessions,
    status,
    suppressed_addresses,
    timeline,
    unsubscribes,
    users,
)
from mailer.audience.field_values import KnownFieldValues
from mailer.bounces.report import Record
from mailer.callers.client_address import TrustedProxies
from mailer.callers.rate_limits import RateLimiter
from mailer.callers.selection import Callers
from mailer.campaigns.estimates.estimate import Estimator
from mailer.engines import Engine
from mailer.messages.links import Links
from mailer.observer import Observer
from mailer.operation.standing import Operation
from mailer.settings import Settings, mailbox
from mailer.storage.database import Database
from transports import Transport


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the API works with."""

    settings: Settings
    db: Database
    engine: Engine
    transport: Transport
    links: Links
    callers: Callers
    observer: Observer
    directory_reads: ConcurrencyLimit
    operation: Operation
    field_values: KnownFieldValues
    record: Record


class SynchronousFlask(Flask):
    """Flask without async views, of which there are none here: it need not ask each function whether it is one."""

    @override
    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


def add_api(app: Flask, parts: ApiParts) -> None:
    """Add every resource and the health checks to the app."""
    app.config.update(API_TITLE="Mailer", API_VERSION=service_version(), OPENAPI_VERSION="3.0.3")
    app.config.update(OPENAPI_URL_PREFIX="/docs", OPENAPI_JSON_PATH="openapi.json")
    api = EnvelopeApi(app, spec_kwargs=spec_options())
    settings, db, engine = parts.settings, parts.db, parts.engine
    guard = _guard(parts)
    for blueprint in (
        sessions.make_blueprint(guard, parts.callers.sessions),
        mailer.make_blueprint(db, guard, engine, settings, parts.observer),
        audience.make_blueprint(
            db,
            guard,
            parts.directory_reads,
            settings,
            links=parts.links,
            known=parts.field_values,
            estimator=Estimator(db, parts.transport, settings.send_window),
        ),
        campaigns.make_blueprint(db, guard, settings.send_window),
        reports.make_blueprint(db, guard, settings.send_window),
        revisions.make_blueprint(db, guard, settings),
        unsubscribes.make_blueprint(db, guard, merge=settings.merge_addresses),
        suppressed_addresses.make_blueprint(db, guard),
        users.make_blueprint(db, guard, pause=settings.owner_deactivated == "pause"),
        people.make_blueprint(db, guard, merge=settings.merge_addresses, window=settings.send_window),
        control.make_blueprint(db, guard, engine, parts.observer, settings.send_window),
        operators.make_blueprint(db, guard, engine),
        status.make_blueprint(guard, parts.operation),
        timeline.make_blueprint(guard, parts.operation),
    ):
        api.register_blueprint(blueprint)
    app.register_blueprint(health.make_blueprint(parts.operation.health))
    if mailbox.kept(settings.mailbox, settings.transport):
        app.register_blueprint(mailpit.make_blueprint(db, guard, parts.links, settings.site_url))


def _guard(parts: ApiParts) -> Guard:
    settings = parts.settings
    limiter = RateLimiter(parts.db, settings.rate_limit)
    audience_limiter = RateLimiter(parts.db, settings.audience_rate_limit)
    return Guard(parts.callers.authenticator, limiter, audience_limiter, TrustedProxies(settings.trusted_proxies))
