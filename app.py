"""The composition root: the one place that picks the concrete parts and joins them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from flask import Flask
from flask_swagger_ui import get_swaggerui_blueprint

from mailer.api import (
    audience,
    campaigns,
    control,
    health,
    mailer,
    suppressed_addresses,
    unsubscribe_page,
    unsubscribes,
    users,
)
from mailer.api.answers import EnvelopeApi, register_errors
from mailer.api.guard import SECURITY_SCHEMES, Guard
from mailer.auth import Authenticator, Tokens
from mailer.database import Database
from mailer.delivery import Deliverer
from mailer.engines import Engine, LocalEngine
from mailer.errors import ConfigError
from mailer.links import Links
from mailer.outbox import Outbox
from mailer.planning import plan_next
from mailer.rate_limits import Throttle
from mailer.settings import Settings
from mailer.sync_task import SyncTask
from mailer.workspace_auth import WorkspaceCallers
from transports import Transport, TransportConfigError, from_url

log = logging.getLogger("mailer")

FORM_ALLOWANCE = 16 * 1024


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a running service, for the web app, the worker and the command line."""

    settings: Settings
    db: Database
    tokens: Tokens
    transport: Transport
    links: Links
    engine: Engine
    sync: SyncTask | None  # None: the sync is not scheduled


def build(settings: Settings) -> Services:
    """Make the parts; the schema is created or migrated. Starts no thread, opens no socket but the database's."""
    try:
        transport = from_url(settings.transport)
    except TransportConfigError as error:
        raise ConfigError(f"MAILER_TRANSPORT: {error}") from error
    if urlsplit(settings.transport).scheme.startswith("smtp") and not settings.allowed_senders:
        log.warning("MAILER_ALLOWED_SENDERS is empty: callers may send as any address")
    if settings.auth == "workspace" and not settings.workspace_url:
        raise ConfigError("MAILER_AUTH: 'workspace' needs MAILER_WORKSPACE_URL")
    _check_sync(settings)
    db = Database(settings.database_url)
    db.migrate()
    lease = settings.lease_seconds * 1000
    outbox = Outbox(
        db,
        lease=lease,
        uncertain=settings.uncertain,
        max_failure_rate=settings.max_failure_rate,
        suppress_after=settings.suppress_after,
    )
    links = Links(settings.secret_key, settings.site_url)
    deliverer = Deliverer(outbox, transport, links, settings)
    plan = partial(plan_next, db, settings.batch_size, lease, merge=settings.merge_addresses)
    sync = None if settings.sync_every is None else SyncTask(db, settings)
    chores = {} if sync is None else {"sync": sync.attend}
    engine = LocalEngine(deliverer, plan, workers=settings.workers, lease=settings.lease_seconds, chores=chores)
    return Services(settings, db, Tokens(db), transport, links, engine, sync)


def _check_sync(settings: Settings) -> None:
    needed = ("workspace_url", "workspace_user_id", "workspace_token")
    missing = [f"MAILER_{name.upper()}" for name in needed if not getattr(settings, name)]
    if settings.sync_every is not None and missing:
        raise ConfigError(f"MAILER_SYNC_EVERY: needs {' and '.join(missing)}")


def _callers(services: Services) -> Authenticator:
    settings = services.settings
    if settings.auth == "local":
        return services.tokens
    return WorkspaceCallers(settings.workspace_url, settings.send_roles)


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application. Its engine is `app.extensions["mailer"].engine`, started by the server after the fork."""
    settings = settings or Settings.from_env()
    services = build(settings)
    app = Flask(__name__, static_folder=None)
    app.extensions["mailer"] = services
    app.config.update(
        MAX_CONTENT_LENGTH=settings.max_body_bytes,
        MAX_FORM_MEMORY_SIZE=FORM_ALLOWANCE,
        API_TITLE="Mailer",
        API_VERSION="1.0.0",
        OPENAPI_VERSION="3.0.3",
        OPENAPI_URL_PREFIX="/docs",
        OPENAPI_JSON_PATH="openapi.json",
        API_SPEC_OPTIONS={"components": {"securitySchemes": SECURITY_SCHEMES}},
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]  # answers read in the order of the documentation
    register_errors(app)
    guard = Guard(_callers(services), Throttle(services.db, settings.rate_limit))
    api = EnvelopeApi(app)
    api.register_blueprint(mailer.make_blueprint(services.db, guard, services.engine, settings))
    api.register_blueprint(audience.make_blueprint(services.db, guard, settings, services.links))
    api.register_blueprint(campaigns.make_blueprint(services.db, guard))
    api.register_blueprint(unsubscribes.make_blueprint(services.db, guard, merge=settings.merge_addresses))
    api.register_blueprint(suppressed_addresses.make_blueprint(services.db, guard))
    api.register_blueprint(users.make_blueprint(services.db, guard))
    api.register_blueprint(control.make_blueprint(services.db, guard, services.engine))
    app.register_blueprint(health.make_blueprint(services.db, services.transport, services.engine, services.sync))
    app.register_blueprint(
        unsubscribe_page.make_blueprint(services.links, services.db, settings.site_name, merge=settings.merge_addresses)
    )
    docs = get_swaggerui_blueprint("/docs", "/docs/openapi.json", config={"app_name": "Mailer"})
    app.register_blueprint(docs)
    return app
