"""The road of a message in this process: a campaign is accepted, planned, and delivered by one thread."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from bench import directory, newsletter
from bench.service import CALLER
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import compile_campaign, make_draft
from mailer.campaigns.planning import Planner
from mailer.delivery.deliverer import Deliverer
from mailer.delivery.outbox import Outbox
from mailer.messages.links import Links
from mailer.selector import database_at
from mailer.settings import Settings
from transports.base import Transport

Some = TypeVar("Some", bound=Outbox)


class Road(Generic[Some]):
    """One over the SQLite file `database`, with the default settings."""

    def __init__(self, database: Path, transport: Transport, outbox: type[Some]) -> None:
        self.settings = Settings(
            secret_key=("k" * 40,), site_url=newsletter.SITE_URL, site_name=newsletter.SITE_NAME, allowed_senders=()
        )
        self._db = database_at(directory.url_of(database))
        self._transport = transport
        self.outbox = outbox(self._db, lease=self.settings.lease_seconds * 1000)
        links = Links(self.settings.secret_key, self.settings.site_url)
        template_of = partial(compile_campaign, self._db, self.settings)
        self._deliverer = Deliverer(self.outbox, transport, links, self.settings, template_of)
        self._planner = Planner(self._db, self.settings.batch_size, self.settings.lease_seconds * 1000)

    def accept(self, query: str = "") -> None:
        """Take a campaign to those who match, or to everybody."""
        sent = newsletter.payload()
        content = {"sender": sent["from"], "subject": sent["subject"], "body": sent["body"], "query": query}
        accept(self._db, CALLER, make_draft(self.settings, **content))

    def plan(self) -> None:
        """Plan the campaign that was accepted."""
        self._planner.plan_next()

    def deliver(self) -> None:
        """Deliver all that was planned."""
        while self._deliverer.run_next(lambda: False):
            pass

    def close(self) -> None:
        """Give up its connections."""
        self._transport.close()
        self._db.close()
