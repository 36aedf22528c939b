"""What the database knows, read when it is asked for: the same whichever process answers.

The queries read indexes and the batches of open campaigns, never the deliveries. What was read is kept for
`REST_SECONDS` and for `SHARE` times as long as reading took. So however often it is asked for, a process spends a
twentieth of its time on it at most.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import BigInteger, Connection, and_, bindparam, case, func, select
from typing_extensions import override

from mailer.campaigns.progress import attention_needed
from mailer.delivery import circuit_breaker, turns
from mailer.delivery.due_batch import PENDING
from mailer.errors import QueryTimeout
from mailer.storage.database import Database
from mailer.storage.database_errors import DATABASE_ERRORS, in_public
from mailer.storage.models import Batch, BatchState, Campaign, CampaignState, RefusedAddress, User
from mailer.storage.models.states import UNFINISHED, Priority

log = logging.getLogger(__name__)

REST_SECONDS = 5.0
SHARE = 20
LIMIT_SECONDS = 5.0  # that a statement may take

ATTENTION = (CampaignState.RESTING, CampaignState.PAUSED, CampaignState.FAILED)
BREAKER_STATES = ("closed", "open", "half_open")

_GOING = Campaign.state.in_([CampaignState.RUNNING, CampaignState.RESTING])
_OPEN = and_(_GOING, Batch.state.in_([BatchState.WAITING, BatchState.RUNNING]))
_NOW = bindparam("now", type_=BigInteger)
CAMPAIGNS = select(Campaign.state, func.count()).where(Campaign.state.in_(UNFINISHED)).group_by(Campaign.state)
QUEUE = (
    select(turns.PRIORITY, func.sum(PENDING + Batch.deferred))
    .join_from(Batch, Campaign, Campaign.id == Batch.campaign_id)
    .where(_OPEN)
    .group_by(turns.PRIORITY)
)
# a dry run's batch is due from 0 on, so that it goes first; it has waited since it was planned
_SINCE = case((Batch.due_at < Campaign.started_at, Campaign.started_at), else_=Batch.due_at)
_DUE = select(func.min(_SINCE)).join_from(Batch, Campaign, Campaign.id == Batch.campaign_id)
OLDEST_DUE = _DUE.where(_OPEN, Batch.due_at <= _NOW, Campaign.state == CampaignState.RUNNING)
SUPPRESSED = select(func.count()).select_from(RefusedAddress).where(RefusedAddress.suppressed_at.is_not(None))
UNSUBSCRIBED = select(func.count()).select_from(User).where(User.unsubscribed_at.is_not(None))


@dataclass(frozen=True, slots=True)
class Readings:
    """What one look at the database found. `oldest_due` is the age in seconds of the batch that is due longest."""

    campaigns: Mapping[str, int]
    attention: Mapping[str, int]
    queue: Mapping[str, int]
    oldest_due: float
    breaker: str
    suppressed: int
    unsubscribed: int
    seconds: float

    def families(self) -> Iterator[Metric]:
        """As Prometheus wants them."""
        yield _by("mailer_campaigns", "Campaigns that have not ended, by state.", "state", UNFINISHED, self.campaigns)
        told = "Campaigns that rest, that the service has paused, or that failed within a day."
        yield _by("mailer_campaigns_needing_attention", told, "state", ATTENTION, self.attention)
        told = "Recipients of running and resting campaigns who wait for an attempt."
        yield _by("mailer_queue_recipients", told, "priority", Priority, self.queue)
        told = "Seconds since the batch became due that is due longest; 0: none is."
        yield GaugeMetricFamily("mailer_oldest_due_batch_seconds", told, self.oldest_due)
        told = "1 for the state that the transport's circuit breaker is in."
        yield _by("mailer_circuit_breaker", told, "state", BREAKER_STATES, {self.breaker: 1})
        yield GaugeMetricFamily("mailer_suppressed_addresses", "Addresses that are not written to.", self.suppressed)
        yield GaugeMetricFamily("mailer_unsubscribed_users", "Users who have unsubscribed.", self.unsubscribed)
        yield GaugeMetricFamily("mailer_database_gauges_seconds", "How long reading these took.", self.seconds)


def _by(name: str, told: str, label: str, known: Iterable[str], values: Mapping[str, int]) -> Metric:
    """A gauge with the label; what is `known` and has no value is 0."""
    family = GaugeMetricFamily(name, told, labels=[label])
    for key, value in {**dict.fromkeys(known, 0), **values}.items():
        family.add_metric([str(key)], value)
    return family


def read(connection: Connection, now: int) -> Readings:
    """Ask the database; `now` is its clock, in ms since 1970."""
    began = time.perf_counter()
    breaker = circuit_breaker.tripped(connection)
    state = "closed" if breaker is None else "open" if breaker.is_open(now) else "half_open"
    since = connection.scalar(OLDEST_DUE, {"now": now})
    return Readings(
        campaigns=dict(connection.execute(CAMPAIGNS).all()),
        attention=attention_needed(connection, now),
        queue={priority: int(recipients) for priority, recipients in connection.execute(QUEUE)},
        oldest_due=0.0 if since is None else max(0, now - since) / 1000,
        breaker=state,
        suppressed=connection.scalar(SUPPRESSED) or 0,
        unsubscribed=connection.scalar(UNSUBSCRIBED) or 0,
        seconds=time.perf_counter() - began,
    )


class DatabaseGauges(Collector):
    """Gauges from the database. While it cannot be read, there are none but `mailer_database_up`, which is 0."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._reading = threading.Lock()
        self._last: Readings | None = None
        self._again_at = float("-inf")  # by `time.monotonic`

    @override
    def collect(self) -> Iterator[Metric]:
        readings = self._readings()
        up = "1 if the database could be read, else 0."
        yield GaugeMetricFamily("mailer_database_up", up, int(readings is not None))
        if readings is not None:
            yield from readings.families()

    def _readings(self) -> Readings | None:
        """Read, unless that was done just now or another thread is at it: a database may take long to answer."""
        if time.monotonic() >= self._again_at and self._reading.acquire(blocking=False):
            began = time.monotonic()
            try:
                self._last = self._read()
            finally:
                now = time.monotonic()
                self._again_at = now + max(REST_SECONDS, SHARE * (now - began))
                self._reading.release()
        return self._last

    def _read(self) -> Readings | None:
        try:
            with self._db.read(limit=LIMIT_SECONDS) as connection:
                return read(connection, self._db.clock(connection))
        except DATABASE_ERRORS as error:
            log.warning("metrics without those from the database: %s", in_public(error))
        except QueryTimeout as error:
            log.warning("metrics without those from the database: %s", error)
        return None
