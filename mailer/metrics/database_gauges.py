"""What the database knows, read when it is asked for: the same whichever process answers.

The queries read indexes and the batches of open campaigns, and of the deliveries only how many were reported lately, by
an index of these. What was read is kept for
`REST_SECONDS` and for `SHARE` times as long as reading took. So however often it is asked for, a process spends a
twentieth of its time on it at most.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import BigInteger, Boolean, Connection, and_, bindparam, case, func, not_, or_, select
from typing_extensions import override

from mailer.campaigns.reports.attention import attention_needed
from mailer.campaigns.reports.bounces import LATELY, ReportedCounts, reported_since
from mailer.campaigns.stops import Planned, stops
from mailer.delivery import turns
from mailer.delivery.due_batch import PENDING
from mailer.errors import QueryTimeout
from mailer.settings.send_window import SendWindow
from mailer.storage.database import Database
from mailer.storage.database_errors import DATABASE_ERRORS, in_public
from mailer.storage.models import Batch, BatchState, Campaign, CampaignState, RefusedAddress, User
from mailer.storage.models.states import UNFINISHED, Priority
from mailer.storage.workers import seen

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
_ADMITTED = or_(Campaign.priority == Priority.URGENT, not_(bindparam("urgent_only", False, type_=Boolean)))
OLDEST_DUE = _DUE.where(_OPEN, _ADMITTED, Batch.due_at <= _NOW, Campaign.state == CampaignState.RUNNING)
SUPPRESSED = select(func.count()).select_from(RefusedAddress).where(RefusedAddress.suppressed_at.is_not(None))
UNSUBSCRIBED = select(func.count()).select_from(User).where(User.unsubscribed_at.is_not(None))


@dataclass(frozen=True, slots=True)
class Readings:
    """What one look at the database found.

    `oldest_due` is for how many seconds the batch that is due longest could have been sent, `workers` counts the living
    processes that deliver, and `planned` says which planned stops of sending there are.
    """

    campaigns: Mapping[str, int]
    attention: Mapping[str, int]
    queue: Mapping[str, int]
    oldest_due: float
    breaker: str
    planned: Mapping[Planned, bool]
    workers: int
    suppressed: int
    unsubscribed: int
    reported: ReportedCounts
    seconds: float

    def families(self) -> Iterator[Metric]:
        """As Prometheus wants them."""
        yield _by("mailer_campaigns", "Campaigns that have not ended, by state.", "state", UNFINISHED, self.campaigns)
        told = "Campaigns that rest, that the service has paused, or that failed within a day."
        yield _by("mailer_campaigns_needing_attention", told, "state", ATTENTION, self.attention)
        told = "Recipients of running and resting campaigns who wait for an attempt."
        yield _by("mailer_queue_recipients", told, "priority", Priority, self.queue)
        told = "1 while this stops sending as somebody planned: a hold, the send window, a day's quota."
        yield _by("mailer_sending_stopped", told, "by", Planned, self.planned)
        yield GaugeMetricFamily("mailer_workers", "Processes that deliver, seen in the last minute.", self.workers)
        told = "Seconds for which the batch could have been sent that is due longest; 0: none is."
        yield GaugeMetricFamily("mailer_oldest_due_batch_seconds", told, self.oldest_due)
        told = "1 for the state that the transport's circuit breaker is in."
        yield _by("mailer_circuit_breaker", told, "state", BREAKER_STATES, {self.breaker: 1})
        yield GaugeMetricFamily("mailer_suppressed_addresses", "Addresses that are not written to.", self.suppressed)
        yield GaugeMetricFamily("mailer_unsubscribed_users", "Users who have unsubscribed.", self.unsubscribed)
        told = "Messages reported in the last 24 hours as bounced or as marked as spam, whenever they were sent."
        yield _by("mailer_reported_lately", told, "what", ReportedCounts._fields, self.reported._asdict())
        yield GaugeMetricFamily("mailer_database_gauges_seconds", "How long reading these took.", self.seconds)


def _by(name: str, told: str, label: str, known: Iterable[str], values: Mapping[Any, int]) -> Metric:
    """A gauge with the label; what is `known` and has no value is 0."""
    family = GaugeMetricFamily(name, told, labels=[label])
    for key, value in {**dict.fromkeys(known, 0), **values}.items():
        family.add_metric([str(key)], value)
    return family


def read(connection: Connection, now: int, window: SendWindow | None = None) -> Readings:
    """Ask the database; `now` is its clock, in ms since 1970. `window` are the hours in which mail goes out."""
    began = time.perf_counter()
    stopped = stops(connection, now, window)
    breaker = stopped.breaker
    state = "closed" if breaker is None else "open" if breaker.is_open(now) else "half_open"
    return Readings(
        campaigns=dict(connection.execute(CAMPAIGNS).all()),
        attention=attention_needed(connection, now),
        queue={priority: int(recipients) for priority, recipients in connection.execute(QUEUE)},
        oldest_due=_oldest_due(connection, now, window),
        breaker=state,
        planned=stopped.planned(),
        workers=sum(one.delivers for one in seen(connection, now)),
        suppressed=connection.scalar(SUPPRESSED) or 0,
        unsubscribed=connection.scalar(UNSUBSCRIBED) or 0,
        reported=reported_since(connection, now - LATELY),
        seconds=time.perf_counter() - began,
    )


def _oldest_due(connection: Connection, now: int, window: SendWindow | None) -> float:
    """The seconds for which some batch could have been sent: the time for which the window was closed is none."""
    closed = window is not None and not window.is_open(now)
    since: int | None = connection.scalar(OLDEST_DUE, {"now": now, "urgent_only": closed})
    if since is None:
        return 0.0
    opened = 0 if window is None or closed else window.opened_at(now)
    return max(0, now - max(since, opened)) / 1000


class DatabaseGauges(Collector):
    """Gauges from the database. While it cannot be read, there are none but `mailer_database_up`, which is 0."""

    def __init__(self, db: Database, window: SendWindow | None = None) -> None:
        self._db = db
        self._window = window
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
                return read(connection, self._db.clock(connection), self._window)
        except DATABASE_ERRORS as error:
            log.warning("metrics without those from the database: %s", in_public(error))
        except QueryTimeout as error:
            log.warning("metrics without those from the database: %s", error)
        return None
