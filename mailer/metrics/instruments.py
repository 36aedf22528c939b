"""The counters and histograms of a process, and the registry that has them and the gauges from the database.

Names follow Prometheus' conventions. No label holds an address, a token, or the id of a caller or a campaign: each has
a few values that are known beforehand.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter as Counts
from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.registry import Collector
from typing_extensions import override

from mailer.bounces.report import Recorded
from mailer.metrics.processes import SharedCounts
from mailer.observer import Observer
from mailer.settings import metrics_folder
from mailer.storage.models import DeliveryStatus
from transports.base import About, Status

OF_A_REQUEST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
OF_A_MESSAGE = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
OF_A_BATCH = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)

Answers = Counts[tuple[str, str]]  # by status and whom the answer is about
YES_OR_NO = {True: "true", False: "false"}
SENT = (Status.SENT.value, "")  # an answer that is about nobody
UNAVAILABLE = "unavailable"  # the status of an answer after which nothing more could be sent, to nobody


class BulkHistogram(Histogram):
    """A histogram that takes many observations at once, which costs little more than taking one."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe each of `amounts`, of a histogram without labels."""
        below = 0  # amounts that are counted already
        ordered = sorted(amounts)
        while below < len(ordered):
            bucket = bisect_left(self._upper_bounds, ordered[below])
            above = bisect_right(ordered, self._upper_bounds[bucket])
            self._buckets[bucket].inc(above - below)
            below = above
        self._sum.inc(sum(amounts))


class Instruments(Observer):
    """All that this process counts. `gauges` tells what the database knows, whichever process is asked.

    Where several processes count together (`mailer.metrics.processes`), `registry` has the sums over all of them.
    """

    def __init__(self, gauges: Collector) -> None:
        disable_created_metrics()
        folder = metrics_folder()
        self.registry = CollectorRegistry()
        mine = self.registry if folder is None else CollectorRegistry()
        self._make_delivery(mine)
        self._make_reports(mine)
        self._make_requests(mine)
        if folder is not None:
            self.registry.register(SharedCounts(folder))
        self.registry.register(gauges)

    def _make_delivery(self, mine: CollectorRegistry) -> None:
        self._accepted = Counter("mailer_campaigns_accepted", "Campaigns accepted.", registry=mine)
        self._planned = Counter("mailer_campaigns_planned", "Campaigns planned.", registry=mine)
        self._recipients = Counter("mailer_recipients_planned", "Recipients of planned campaigns.", registry=mine)
        self._outcomes = Counter("mailer_outcomes", "Outcomes recorded, by status.", ["status"], registry=mine)
        self._answers = Counter(
            *("mailer_transport_answers", "Outcomes that the transport gave, by status and whom they are about."),
            *(["status", "about"],),
            registry=mine,
        )
        self._message_seconds = BulkHistogram(
            *("mailer_transport_message_seconds", "From handing a message to the transport to its outcome."),
            buckets=OF_A_MESSAGE,
            registry=mine,
        )
        self._batch_seconds = Histogram(
            "mailer_batch_seconds", "From claiming a batch to giving it back.", buckets=OF_A_BATCH, registry=mine
        )
        self._retries = Counter(
            "mailer_database_retries", "Times that the database failed and work was tried again.", registry=mine
        )
        for status in DeliveryStatus:
            self._outcomes.labels(status.value)
        self._by_answer = {answer: self._answers.labels(*answer) for answer in _answers()}

    def _make_reports(self, mine: CollectorRegistry) -> None:
        self._bounces = Counter(
            *("mailer_bounces", "Messages that came back, by whom that is about and whether it is for good."),
            *(["about", "permanent"],),
            registry=mine,
        )
        self._complaints = Counter("mailer_complaints", "Messages that were marked as spam.", registry=mine)
        self._reports = Counter(
            "mailer_bounce_reports", "Reports read, by what became of each.", ["result"], registry=mine
        )
        for about in About:
            for permanent in YES_OR_NO.values():
                self._bounces.labels(about.value, permanent)
        for result in Recorded._fields:
            self._reports.labels(result)

    def _make_requests(self, mine: CollectorRegistry) -> None:
        labels = ["endpoint", "method", "code"]
        self._requests = Counter("mailer_http_requests", "Requests answered.", labels, registry=mine)
        self._request_seconds = Histogram(
            *("mailer_http_request_seconds", "From reading a request to its answer.", ["endpoint"]),
            buckets=OF_A_REQUEST,
            registry=mine,
        )

    @override
    def accepted(self) -> None:
        self._accepted.inc()

    @override
    def planned(self, recipients: int) -> None:
        self._planned.inc()
        self._recipients.inc(recipients)

    @override
    def recorded(self, outcomes: Mapping[str, int]) -> None:
        for status, count in outcomes.items():
            self._outcomes.labels(status).inc(count)

    @override
    def batch_ended(self, seconds: float) -> None:
        self._batch_seconds.observe(seconds)

    @override
    def database_retried(self) -> None:
        self._retries.inc()

    @override
    def reported(self, results: Mapping[str, int], bounces: Mapping[tuple[str, bool], int]) -> None:
        for result, count in results.items():
            self._reports.labels(result).inc(count)
        self._complaints.inc(results.get("complained", 0))
        for (about, permanent), count in bounces.items():
            self._bounces.labels(about, YES_OR_NO[permanent]).inc(count)

    def answered(self, answers: Answers, seconds: Sequence[float]) -> None:
        """Count what the transport said of some messages, and how many seconds each of them took."""
        for answer, count in answers.items():
            self._by_answer[answer].inc(count)
        self._message_seconds.observe_all(seconds)

    def requested(self, endpoint: str, method: str, code: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(endpoint, method, str(code)).inc()
        self._request_seconds.labels(endpoint).observe(seconds)


def _answers() -> list[tuple[str, str]]:
    """Every label that answers can have, so that each is told of before it first happens."""
    statuses = [*(status.value for status in Status if status is not Status.SENT), UNAVAILABLE]
    return [SENT, *((status, about.value) for status in statuses for about in About)]
