"""Processes that die over the same batch again and again: counted on its row, said as the campaign's reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select, update

from mailer.campaigns.invariants import examine
from mailer.cli.commands.campaigns import print_campaign
from mailer.delivery.worklist import Result
from mailer.storage.database import Database
from mailer.storage.models import Batch, DeliveryStatus
from tests.harness import Harness


@pytest.fixture
def harness(db: Database, add_users: Callable[..., list[str]]) -> Harness:
    """A planned campaign of two batches."""
    add_users(db, 20)
    made = Harness(db)
    made.accept()
    made.plan()
    with db.write() as connection:
        connection.execute(update(Batch).where(Batch.number == 1).values(due_at=10**15))  # the other one first
    return made


def die_sending(harness: Harness) -> None:
    """Take the batch that is due, say whom is next, and be gone until the lease is over."""
    claim = harness.outbox.claim()
    assert claim is not None
    items = harness.outbox.due_items(claim)
    harness.outbox.checkpoint(claim, [], items[:3], sum(item.status is None for item in items))
    harness.now += harness.lease


def takeovers(harness: Harness) -> list[int]:
    with harness.db.read() as connection:
        return list(connection.scalars(select(Batch.takeovers).order_by(Batch.number)))


def test_deaths_over_one_batch_are_said_until_somebody_gets_on(harness: Harness) -> None:
    reasons = []
    for _ in range(4):
        die_sending(harness)
        reasons.append(harness.progress().reason)
    assert reasons[:2] == [None, None]  # the death is known once another has taken over
    assert str(reasons[2]).startswith("2 processes in a row died while sending batch 0")
    assert str(reasons[3]).startswith("3 processes in a row died while sending batch 0")
    assert takeovers(harness) == [3, 0]
    harness.deliverer.run_next(lambda: False)
    assert (takeovers(harness), harness.progress().reason) == ([0, 0], None)
    assert examine(harness.db) == []


def test_death_after_progress_is_the_first_again(harness: Harness) -> None:
    die_sending(harness)
    claim = harness.outbox.claim()
    assert claim is not None
    assert claim.takeovers == 1
    items = harness.outbox.due_items(claim)
    harness.outbox.checkpoint(claim, [], items[:1], len(items))
    assert takeovers(harness) == [1, 0]
    result = Result(items[0], DeliveryStatus.SENT, 1, items[0].uncertain_attempts, "ok")
    harness.outbox.checkpoint(claim, [result], items[1:2], len(items) - 1)
    assert takeovers(harness) == [0, 0]


def test_worker_that_stopped_between_checkpoints_is_no_death(harness: Harness) -> None:
    for _ in range(3):
        assert harness.outbox.claim() is not None
        harness.now += harness.lease
    assert takeovers(harness) == [0, 0]


def test_show_says_what_uncertain_means_and_what_to_do(harness: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    campaign = {"_id": "abc", "state": "completed_with_issues", "uncertain": 850, "subject": "Hi", "dryrun": False}
    print_campaign(campaign, False)
    said = capsys.readouterr().out
    assert "850 uncertain: they may have arrived." in said
    assert "mailer campaigns retry-failed abc --uncertain" in said
    print_campaign({**campaign, "uncertain": 0}, False)
    assert "may have arrived" not in capsys.readouterr().out
