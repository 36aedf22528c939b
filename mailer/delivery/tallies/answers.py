"""How many recipients of a campaign failed, or were skipped, with the same answer.

Answers are compared in their normalised form, without what differs between recipients. At most `MOST` are kept apart in
a campaign, so that a server that says something new each time fills no table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Insert, delete, select

from mailer.delivery.same_refusals import normalised
from mailer.delivery.worklist import Claim, Result
from mailer.storage.dialects import NewRow, RowUpsert
from mailer.storage.models import CampaignAnswer, DeliveryStatus
from transports.base import About

MOST = 100
OTHERS = ""
TOLD = (DeliveryStatus.FAILED, DeliveryStatus.SKIPPED)

Group = tuple[str, str, str]  # the status, whom the answer is about, the answer


@dataclass(frozen=True, slots=True)
class AnswerCount:
    """How many recipients have `status`, `failed` or `skipped`, with this answer; an empty one: with others.

    `about` says whom a refusal is about; it is empty for those who were skipped.
    """

    status: str
    about: str
    answer: str
    count: int


def write(connection: Connection, claim: Claim, results: Sequence[Result]) -> None:
    """Add what of `results`, which the same transaction records, failed or was skipped."""
    groups = Counter(_group(result) for result in results if result.status in TOLD)
    if claim.dry_run or not groups:
        return
    known = _on_record(connection, claim.campaign_id)
    counts: Counter[Group] = Counter()
    for group, count in groups.items():
        if group not in known and len(known) >= MOST:
            group = (*group[:2], OTHERS)  # noqa: PLW2901 - what it counts as
        known.add(group)
        counts[group] += count
    # in this order, so that nobody waits for somebody who waits for them
    _ADD.run(connection, [(claim.campaign_id, *group, count) for group, count in sorted(counts.items())])


def _group(result: Result) -> Group:
    if result.status is DeliveryStatus.SKIPPED:
        return result.status.value, "", result.reply.partition(":")[0]
    about = result.about or About.MESSAGE
    return result.status.value, about.value, normalised(result.reply, result.item.recipient.address)


def _on_record(connection: Connection, campaign_id: str) -> set[Group]:
    columns = (CampaignAnswer.status, CampaignAnswer.about, CampaignAnswer.answer)
    rows = connection.execute(select(*columns).where(CampaignAnswer.campaign_id == campaign_id))
    return {(status, about, answer) for status, about, answer in rows}


def _adding(new: NewRow) -> Insert:
    more = {"count": CampaignAnswer.count + new.excluded["count"]}
    return new.on_conflict_do_update(index_elements=["campaign_id", "status", "about", "answer"], set_=more)


_ADD = RowUpsert(CampaignAnswer, ("campaign_id", "status", "about", "answer", "count"), _adding)


def answer_counts(connection: Connection, campaign_id: str) -> list[AnswerCount]:
    """Return the counts of a campaign, the most frequent answer first."""
    columns = (CampaignAnswer.status, CampaignAnswer.about, CampaignAnswer.answer, CampaignAnswer.count)
    found = connection.execute(select(*columns).where(CampaignAnswer.campaign_id == campaign_id))
    return sorted((AnswerCount(*row) for row in found), key=lambda one: (-one.count, one.status, one.about, one.answer))


def reopening(connection: Connection, campaign_id: str) -> None:
    """Forget the failures of a campaign: all of them are tried again."""
    failed = CampaignAnswer.status == DeliveryStatus.FAILED
    connection.execute(delete(CampaignAnswer).where(CampaignAnswer.campaign_id == campaign_id, failed))


def forget(connection: Connection, campaign_id: str) -> None:
    """Delete the campaign's rows."""
    connection.execute(delete(CampaignAnswer).where(CampaignAnswer.campaign_id == campaign_id))
