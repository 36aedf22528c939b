"""A recorder for tests of what comes before it: it remembers reports, and knows those that come again."""

from __future__ import annotations

from collections.abc import Sequence

from mailer.bounces.report import Kind, Recorded, Report

COUNTED = {
    Kind.BOUNCED: "bounced",
    Kind.COMPLAINED: "complained",
    Kind.UNSUBSCRIBED: "unsubscribed",
    Kind.DELAYED: "delayed",
}


class Remembering:
    """A `Record`. An unsubscription is known by an address that begins with `leave+`; all else is believed."""

    def __init__(self) -> None:
        self.reports: list[Report] = []

    def __call__(self, reports: Sequence[Report]) -> Recorded:
        counts = dict.fromkeys(Recorded._fields, 0)
        for report in reports:
            counts[self._count(report)] += 1
        return Recorded(**counts)

    def _count(self, report: Report) -> str:
        if report.kind is Kind.UNSUBSCRIBED and not any(to.startswith("leave+") for to in report.sent_to):
            return "unknown"
        if report in self.reports:
            return "repeated"
        self.reports.append(report)
        return COUNTED[report.kind]
