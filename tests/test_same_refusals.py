"""One reply that everybody gets: told apart from others, counted over processes, and what a person can do then."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select

from mailer.campaigns import control
from mailer.campaigns.invariants import examine
from mailer.delivery.same_refusals import most_common_reply, normalised
from mailer.storage.database import Database
from mailer.storage.models import SameRefusals
from tests.harness import MINUTE, Harness
from transports.base import About, Status

SPAM = "554 5.7.1 Message {n}A{n} from {n}.example.net rejected as spam, see https://x.example/{n} <user{n:05d}@x.org>"

ALIKE = {
    "addresses": ("550 5.7.1 <ann@example.com>: no", "550 5.7.1 <bob.b@example.org>: no"),
    "queue ids": ("554 5.7.1 rejected (id=4ZqXyZ1abc)", "554 5.7.1 rejected (id=9BbKkLlMmN)"),
    "ids of letters": ("554 rejected, queue id: QwErTyUi", "554 rejected, queue id: AsDfGhJk"),
    "Gmail's ends": (
        "550 5.7.1 blocked. x12-20020a05si1234567.89 - gsmtp",
        "550 5.7.1 blocked. a1-9a05b006780000si7654321oav.3 - gsmtp",
    ),
    "dates": (
        "554 content refused Wed, 25 Nov 2026 20:12:28 +0000 (UTC)",
        "554 content refused Thu, 3 Dec 2026 1:02:03 +0000 (GMT)",
    ),
    "hosts and scores": ("550 score 12.5 at mx1.example.org", "550 score 9 at mail-b.example.net"),
    "links": ("550 no, see https://a.example/p?ip=1.2.3.4", "550 no, see https://a.example/p?ip=4.3.2.1"),
    "case and blanks": ("550  Content   Refused", "550 content refused"),
}
DIFFERENT = {
    "code": ("550 5.7.1 refused", "554 5.7.1 refused"),
    "enhanced code": ("550 5.7.1 refused", "550 5.6.0 refused"),
    "words": ("550 5.7.1 spam content", "550 5.7.1 virus found"),
    "words in another script": ("554 отклонено", "554 拒否"),
}


@pytest.mark.parametrize("pair", ALIKE.values(), ids=ALIKE)
def test_what_differs_between_recipients_is_left_out(pair: tuple[str, str]) -> None:
    assert normalised(pair[0]) == normalised(pair[1])


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT)
def test_answers_that_say_another_thing_stay_apart(pair: tuple[str, str]) -> None:
    assert normalised(pair[0]) != normalised(pair[1])


def test_recipients_own_name_is_left_out() -> None:
    assert normalised("550 mail to ann at example.com refused", "Ann@example.com") == normalised(
        "550 mail to bob at x.org refused", "bob@x.org"
    )


@pytest.mark.parametrize(
    ("replies", "known", "most"),
    [("a" * 3, "", None), ("a" * 4, "", "a"), ("aaab", "", "a"), ("aabb", "", None), ("aaab", "a", None)],
)
def test_most_of_the_last_say_it(replies: str, known: str, most: str | None) -> None:
    assert most_common_reply(list(replies), 4, list(known)) == most


@pytest.fixture
def harness(db: Database, add_users: Callable[..., list[str]]) -> Harness:
    """120 users in batches of 10, and a content filter that refuses all of them in its own words for each."""
    add_users(db, 120)
    made = Harness(db, max_failure_rate=1.0)
    for number in range(120):
        made.store.answer(f"user{number:05d}@example.com", Status.REFUSED, reply=SPAM.format(n=number + 7))
    made.accept()
    return made


def mend(harness: Harness) -> None:
    harness.store.forget_answers()


def test_campaign_pauses_with_the_answer_before_the_rest_is_burned(harness: Harness) -> None:
    harness.run()
    now = harness.progress()
    assert (now.state, harness.counts()) == ("paused", {"failed": 20, "pending": 100})
    assert str(now.reason).startswith("20 of the last 20 refusals say the same: 554 5.7.1 Message ")
    assert examine(harness.db) == []
    mend(harness)
    control.resume(harness.db, harness.campaign_id)
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("completed_with_issues", {"failed": 20, "sent": 100})
    assert control.retry_failed(harness.db, harness.campaign_id) == 20
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("completed", {"sent": 120})


def test_large_checkpoint_is_broken_off_too(db: Database, add_users) -> None:
    add_users(db, 120)
    harness = Harness(db, batch_size=120, checkpoint=100)
    harness.store.answer(None, *[Status.REFUSED] * 120)
    harness.accept()
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("paused", {"failed": 20, "pending": 100})


def test_resumed_by_a_person_the_same_answer_does_not_pause_it_again_and_another_does(harness: Harness) -> None:
    harness.run()
    control.resume(harness.db, harness.campaign_id)
    for number in range(60, 120):
        mine = f"user{number:05d}@example.com"
        harness.store.forget_answers(mine)
        harness.store.answer(mine, Status.REFUSED, reply="550 5.7.1 a virus")
    harness.run()
    assert (harness.progress().state, harness.counts()["pending"]) == (
        "paused",
        47,
    )  # 11 of them, and the checkpoint's end
    assert "550 5.7.1 a virus" in str(harness.progress().reason)


def test_tried_again_all_refused_it_pauses_again(harness: Harness) -> None:
    harness.run()
    control.resume(harness.db, harness.campaign_id)
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("completed_with_issues", {"failed": 120})
    harness.store.answer(None, *[Status.REFUSED] * 120, reply="554 5.7.1 spam still")
    control.retry_failed(harness.db, harness.campaign_id)
    harness.run()
    assert harness.progress().state == "paused"


def test_failure_rate_counts_on_after_it(db: Database, add_users) -> None:
    add_users(db, 300)
    harness = Harness(db, batch_size=50, checkpoint=10)
    harness.store.answer(None, *[Status.REFUSED] * 300)
    harness.accept()
    harness.run()
    assert (harness.progress().state, harness.counts()["failed"]) == ("paused", 20)
    control.resume(db, harness.campaign_id)
    harness.run()
    assert (harness.progress().state, harness.counts()["failed"]) == ("paused", 100)
    assert "MAILER_MAX_FAILURE_RATE" in str(harness.progress().reason)


@pytest.mark.parametrize(
    ("about", "replies"),
    [(About.ADDRESS, ["550 5.1.1 no such user"]), (About.MESSAGE, [f"554 {word}" for word in "abcd"])],
    ids=["about addresses", "different replies"],
)
def test_other_refusals_are_no_pattern(db: Database, add_users, about: About, replies: list[str]) -> None:
    add_users(db, 40)
    harness = Harness(db, max_failure_rate=1.0)
    for number in range(40):
        reply = replies[number % len(replies)]
        harness.store.answer(f"user{number:05d}@example.com", Status.REFUSED, about=about, reply=reply)
    harness.accept()
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("completed_with_issues", {"failed": 40})


@pytest.mark.parametrize(("size", "failed"), [(0, 120), (5, 5), (50, 50)])
def test_how_many_is_the_setting(db: Database, add_users, size: int, failed: int) -> None:
    add_users(db, 120)
    harness = Harness(db, max_failure_rate=1.0, same_refusals=size, checkpoint=10)
    harness.store.answer(None, *[Status.REFUSED] * 120)
    harness.accept()
    harness.run()
    assert harness.counts()["failed"] == failed


def test_refusals_of_all_processes_count_together(db: Database, add_users) -> None:
    add_users(db, 60)
    workers = [Harness(db), Harness(db)]
    for harness in workers:
        harness.store.answer(None, *[Status.REFUSED] * 60)
        db.clock = lambda _connection: workers[0].now
    workers[1].campaign_id = workers[0].accept()
    workers[0].plan()
    for turn in range(10):
        workers[turn % 2].deliverer.run_next(lambda: False)
        workers[0].now += MINUTE
    assert (workers[0].progress().state, workers[0].counts()["failed"]) == ("paused", 20)


def test_soft_failures_that_end_count_as_refusals_do(db: Database, add_users) -> None:
    add_users(db, 25)
    harness = Harness(db, max_failure_rate=1.0)
    harness.store.answer(None, *[Status.DEFERRED] * 25 * 10, reply="451 4.7.1 try later")
    harness.accept()
    for _ in range(24 * 6):
        harness.run()
        harness.now += 10 * MINUTE
    with db.read() as connection:
        known = connection.scalars(select(SameRefusals.known)).all()
    assert (harness.progress().state, known) == ("paused", [["451 4.7.1 try later"]])
