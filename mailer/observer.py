"""Whom the rooms tell what has happened, so that somebody may count it. They do not know who does."""

from __future__ import annotations

from collections.abc import Mapping


class Observer:
    """Is told of events, each after it has happened: what a database has recorded is committed by then.

    This one counts nothing, and stands in where nobody counts. All methods may be called by several threads at once.
    """

    def accepted(self) -> None:
        """A campaign was accepted. One that an earlier request had made already is not told of."""

    def planned(self, recipients: int) -> None:
        """A campaign was planned, with so many recipients."""

    def recorded(self, outcomes: Mapping[str, int]) -> None:
        """Outcomes were recorded, counted by the status of the delivery. Each attempt of a recipient counts."""

    def batch_ended(self, seconds: float) -> None:
        """A worker gave a batch back, so many seconds after it began to take it."""

    def database_retried(self) -> None:
        """The database failed, and what was being done is about to be tried again."""

    def reported(self, results: Mapping[str, int], bounces: Mapping[tuple[str, bool], int]) -> None:
        """Reports about messages that were sent earlier were read: how many of them had each result.

        The results are the fields of `mailer.bounces.report.Recorded`. `bounces` counts those that are newly on record,
        by whom they are about and whether they are permanent.
        """


UNOBSERVED = Observer()
