"""Record what came back: on the delivery, against the address, and in the history of the person who wished it.

A report that is about no message of ours changes nothing, and neither does one that is known already. A bounce that
came by mail and proves nothing is shown on the delivery as a soft one, and counts against nobody.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select, update

from mailer.audit.actor import Actor, Via, acting
from mailer.bounces.complaints import pause_if_many, suppress
from mailer.bounces.evidence import Evidence, Refuted
from mailer.bounces.matching import Sent, find, is_in_hand, users_of
from mailer.bounces.report import Kind, Recorded, Report
from mailer.messages.addresses import comparable
from mailer.messages.return_addresses import Named, Use
from mailer.observer import UNOBSERVED, Observer
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.dialects import in_turn
from mailer.storage.journal.writer import Wished
from mailer.storage.models import Campaign, Delivery, User
from mailer.suppression import bounces_in_a_row, history, wishes
from mailer.suppression.bounces_in_a_row import Bounce
from mailer.suppression.history import Cause, Means
from mailer.suppression.unsubscribes import mark
from transports.base import About

LOOKS, PAUSE = 15, 0.2  # seconds: a checkpoint ends after about one
LONGEST_REPLY = 1000  # characters
RECIPIENT = Actor("recipient", Via.LINK, "")
_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")  # RFC 3463 section 2
UNKNOWN, REPEATED = "unknown", "repeated"


class Recorder:
    """Records reports, with the keys and the limit of the settings, and tells `observer` what became of them."""

    def __init__(self, db: Database, settings: Settings, observer: Observer = UNOBSERVED) -> None:
        self._db = db
        self._evidence = Evidence(settings)
        self._limit = settings.suppress_after
        self._observer = observer

    def record(self, reports: Sequence[Report]) -> Recorded:
        """Record those that are true, in one transaction, and count what became of each (`report.Record`).

        Raises `DatabaseUnavailable` where the journal cannot be written; then none of them is recorded.
        """
        if not reports:
            return Recorded()
        reports = [self._weakened(report) for report in reports]
        self._await_outcomes(reports)
        with acting(RECIPIENT), self._db.write() as connection:
            in_turn(connection, "reports")
            wishes.lock(connection)
            now = self._db.clock(connection)
            found = [self._find(connection, report) for report in reports]
            annoyed = sorted({one.campaign_id for one, report in _complaints(found, reports)})
            for campaign_id in annoyed:  # locked before their deliveries, as everybody does
                mine = select(Campaign.id).where(Campaign.id == campaign_id)
                connection.execute(mine.with_for_update(key_share=True))
            results = [self._record(connection, report, now) for report in reports]
            for campaign_id in annoyed:
                pause_if_many(connection, campaign_id, now)
        counts = Counter(results)
        told = Counter(result for result, one in zip(results, reports, strict=True) if not _is_letter(result, one))
        self._observer.reported(told, _bounces(results, reports))
        return Recorded(**counts)

    def _await_outcomes(self, reports: Sequence[Report]) -> None:
        """Wait a moment for what is being sent: a relay may return a message before it is on record as sent."""
        for _ in range(LOOKS):
            with self._db.read() as connection:
                if not any(is_in_hand(connection, self._evidence, report) for report in reports):
                    return
            time.sleep(PAUSE)

    def _weakened(self, report: Report) -> Report:
        """The report as far as it is believed: a bounce that is proved later, and for good, comes over a soft one."""
        try:
            return report if self._evidence.is_believed(report) else replace(report, permanent=False)
        except Refuted:
            return report  # it is found to be about nothing

    def _find(self, connection: Connection, report: Report) -> Sent | None:
        return None if report.kind is Kind.UNSUBSCRIBED else find(connection, self._evidence, report)

    def _record(self, connection: Connection, report: Report, now: int) -> str:
        """Record one report, and return the name of the count in `Recorded` that it belongs to."""
        if report.kind is Kind.UNSUBSCRIBED:
            return self._unsubscribed(connection, report, now)
        sent = find(connection, self._evidence, report)  # once more: reports of the same call may be about the same
        if sent is None:
            return UNKNOWN
        if report.kind is Kind.BOUNCED:
            return self._bounced(connection, report, sent, now)
        return self._complained(connection, report, sent, now) if report.kind is Kind.COMPLAINED else report.kind.value

    def _bounced(self, connection: Connection, report: Report, sent: Sent, now: int) -> str:
        """A bounce, once for each delivery; one that is permanent comes after a soft one all the same."""
        if sent.bounced_at is not None and (sent.bounce_permanent or not report.permanent):
            return REPEATED
        reply = _one_line(report.reply) if sent.address is not None else ""
        status = report.status if _STATUS.fullmatch(report.status) else ""
        values: dict[str, Any] = {"bounce_status": status, "bounce_reply": reply}
        values |= {"bounce_about": report.about.value, "bounce_permanent": report.permanent}
        _write(connection, sent, bounced_at=_when(report, sent, now), **values)
        if sent.address is not None:
            if report.permanent and report.about is About.ADDRESS:
                one = Bounce(sent.campaign_id, sent.user_id, sent.address, reply, status or "as the bounce says")
                bounces_in_a_row.count(connection, one, now, self._limit)
            elif self._evidence.is_believed(report):
                bounces_in_a_row.uncounted(connection, sent.campaign_id, sent.address)
        return report.kind.value

    def _complained(self, connection: Connection, report: Report, sent: Sent, now: int) -> str:
        """A complaint is a wish of the person, and suppresses the address at once."""
        if sent.complained_at is not None:
            return REPEATED
        _write(connection, sent, complained_at=_when(report, sent, now))
        address = sent.address or connection.scalar(select(User.email).where(User.id == sent.user_id))
        if address is not None:
            suppress(connection, address, now)
            if self._db.journal is not None:
                self._db.journal.wish(Wished.BLOCK, now, None, [comparable(address)])
        mark(connection, self._db.journal, now, sent.user_id, Cause(Means.COMPLAINT, campaign_id=sent.campaign_id))
        return report.kind.value

    def _unsubscribed(self, connection: Connection, report: Report, now: int) -> str:
        """A wish by mail, to an address whose token is of that kind."""
        named = self._evidence.tokens.read(report.sent_to)
        user_id = self._whose(connection, named) if named is not None and named.use is Use.UNSUBSCRIBE else None
        if named is None or user_id is None:
            return UNKNOWN
        by = Cause(Means.MAIL, campaign_id=named.campaign_id)
        return report.kind.value if mark(connection, self._db.journal, now, user_id, by).newly else REPEATED

    def _whose(self, connection: Connection, named: Named) -> str | None:
        """The user whom a token names; of several with one digest, who got the message."""
        users = users_of(connection, named)
        theirs = [one for one in users if len(users) == 1 or history.is_recipient(connection, named.campaign_id, one)]
        return theirs[0] if len(theirs) == 1 else None


def _is_letter(result: str, report: Report) -> bool:
    """Whether it is no report but a letter to no address that unsubscribes, for a person to look at."""
    return result == UNKNOWN and report.kind is Kind.UNSUBSCRIBED


def _bounces(results: Sequence[str], reports: Sequence[Report]) -> Counter[tuple[str, bool]]:
    """The bounces that are newly on record, by whom they are about and whether they are permanent."""
    pairs = zip(results, reports, strict=True)
    return Counter((one.about.value, one.permanent) for result, one in pairs if result == Kind.BOUNCED)


def _complaints(found: Sequence[Sent | None], reports: Sequence[Report]) -> list[tuple[Sent, Report]]:
    pairs = zip(found, reports, strict=True)
    return [(one, report) for one, report in pairs if one is not None and report.kind is Kind.COMPLAINED]


def _write(connection: Connection, sent: Sent, **values: Any) -> None:
    mine = (Delivery.campaign_id == sent.campaign_id, Delivery.user_id == sent.user_id)
    connection.execute(update(Delivery).where(*mine).values(**values))


def _when(report: Report, sent: Sent, now: int) -> int:
    """When it happened, if that can be true: after the message was sent, and not in the future."""
    return report.at if report.at is not None and sent.first_at <= report.at <= now else now


def _one_line(text: str) -> str:
    """The text in one line that a database can hold."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())[:LONGEST_REPLY]
