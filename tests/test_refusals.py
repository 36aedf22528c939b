"""Addresses refused campaign after campaign: what counts, what ends it, and who is then left out; on both databases."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, insert, literal, select, update
from sqlalchemy.exc import ResourceClosedError

from mailer.audience.preview import measure
from mailer.campaigns import control
from mailer.campaigns.invariants import examine
from mailer.campaigns.retention import purge
from mailer.delivery.checkpoints.permission import still_eligible
from mailer.delivery.ledger import LeaseLost
from mailer.delivery.worklist import Result
from mailer.messages.addresses import comparable
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import Batch, DeliveryStatus, Priority, RefusedAddress, User
from mailer.suppression import refused_addresses
from mailer.suppression.refused_addresses import AddressOutcome
from mailer.suppression.suppressed_addresses import Lifted, lift, suppressed_addresses
from tests.conftest import user_row
from tests.harness import MINUTE, START, Harness
from tests.killable import Trap, Worker, attempts, settings_for
from tests.recording_smtp import Fault, recording_smtp
from tests.service import END_STATES
from transports.base import About, Status

pytestmark = pytest.mark.slow

BAD = "user00001@example.com"
DAY = 24 * 60 * MINUTE


@pytest.fixture
def harness(db: Database, add_users: Callable[..., list[str]]) -> Harness:
    """Five users, of whom user00001 is refused when told so."""
    add_users(db, 5)
    return Harness(db)


def campaign(harness: Harness, *answers: Status, **order: object) -> dict[str, int]:
    """Run a campaign in which BAD gets `answers`; the counts."""
    harness.store.answer(BAD, *answers, about=About.ADDRESS)
    harness.accept(**order)  # type: ignore[arg-type]
    harness.run()
    assert examine(harness.db) == []
    harness.now += MINUTE
    return harness.counts()


def refused_in(db: Database, address: str = BAD) -> int:
    """How many campaigns are counted."""
    with db.read() as connection:
        counted = select(RefusedAddress.campaigns).where(RefusedAddress.address == address)
        return connection.scalar(counted) or 0


def suppress(harness: Harness) -> None:
    for _ in range(3):
        campaign(harness, Status.REFUSED)


def test_address_refused_in_three_campaigns_is_left_out_of_the_fourth(harness: Harness) -> None:
    suppress(harness)
    assert campaign(harness) == {"sent": 4}
    assert harness.progress().planned == 4
    assert BAD not in harness.arrived()


def test_suppressed_address_is_listed_with_the_reason(harness: Harness) -> None:
    suppress(harness)
    (one,) = suppressed_addresses(harness.db)
    assert (one.address, one.suppressed_at, one.campaigns, one.users) == (BAD, START + 2 * MINUTE, 3, 1)
    assert one.reply == "memory: refused"


def test_audience_agrees_with_the_plan(harness: Harness) -> None:
    suppress(harness)
    seen = measure(harness.db, {})
    assert (seen.count, seen.suppressed, len(seen.sample)) == (4, 1, 4)
    assert (measure(harness.db, {"_id": "user00001"}).count, measure(harness.db, {"_id": "user00002"}).suppressed) == (
        0,
        0,
    )


def test_message_taken_in_between_starts_anew(harness: Harness) -> None:
    for answers in ([Status.REFUSED], [Status.REFUSED], [Status.SENT], [Status.REFUSED], [Status.REFUSED]):
        campaign(harness, *answers)
    assert (refused_in(harness.db), suppressed_addresses(harness.db)) == (2, [])
    campaign(harness, Status.REFUSED)
    assert len(suppressed_addresses(harness.db)) == 1


def test_soft_failures_to_the_end_count_nothing(harness: Harness) -> None:
    harness.store.answer(BAD, *[Status.DEFERRED] * 20)
    harness.accept()
    for _ in range(24 * 60 // 10):
        harness.run()
        harness.now += 10 * MINUTE
    assert harness.delivery("user00001").status == "failed"
    assert refused_in(harness.db) == 0


def test_address_that_no_message_can_hold_counts_nothing(harness: Harness) -> None:
    with harness.db.write() as connection:
        connection.execute(update(User).where(User.id == "user00001").values(email="no address"))
    assert campaign(harness) == {"sent": 4, "failed": 1}
    assert refused_in(harness.db, "no address") == 0


def test_soft_failure_in_between_neither_counts_nor_starts_anew(harness: Harness) -> None:
    campaign(harness, Status.REFUSED)
    assert campaign(harness, Status.DEFERRED, Status.REFUSED) == {"sent": 4, "deferred": 1}
    harness.now += MINUTE
    harness.run()
    assert refused_in(harness.db) == 2


def test_dry_run_counts_nothing_and_goes_to_a_suppressed_address(harness: Harness) -> None:
    with harness.db.write() as connection:
        connection.execute(update(User).where(User.id == "user00001").values(email="news@example.com"))
    for _ in range(4):
        harness.store.answer("news@example.com", Status.REFUSED, about=About.ADDRESS)
        campaign(harness, dry_run=True)
    assert refused_in(harness.db, "news@example.com") == 0
    harness.store.answer("news@example.com", *[Status.REFUSED] * 3, about=About.ADDRESS)
    suppress(harness)
    assert campaign(harness) == {"sent": 4}
    assert campaign(harness, dry_run=True) == {"sent": 1}
    assert len(suppressed_addresses(harness.db)) == 1  # by no machine is it lifted


@pytest.mark.parametrize("spelled", ["USER00001@example.com", "user00001@example.com"])
def test_whoever_has_the_address_is_left_out(harness: Harness, spelled: str) -> None:
    suppress(harness)
    with harness.db.write() as connection:
        connection.execute(insert(User), [user_row(9, id="newcomer", email=spelled)])
    assert campaign(harness) == {"sent": 4}
    assert [one.users for one in suppressed_addresses(harness.db)] == [2]


def test_spellings_of_an_address_count_together(harness: Harness) -> None:
    for spelled in ("user00001@example.com", "User00001@example.com", "USER00001@example.com"):
        with harness.db.write() as connection:
            connection.execute(update(User).where(User.id == "user00001").values(email=spelled))
        harness.store.answer(spelled, Status.REFUSED, about=About.ADDRESS)
        campaign(harness)
    assert [one.address for one in suppressed_addresses(harness.db)] == [BAD]


def test_campaign_counts_once_however_often_it_tries(harness: Harness) -> None:
    campaign(harness, Status.REFUSED)
    first = harness.campaign_id
    campaign(harness, Status.REFUSED)
    for _ in range(3):
        control.retry_failed(harness.db, first)
        harness.store.answer(BAD, Status.REFUSED, about=About.ADDRESS)
        harness.run()
    assert (refused_in(harness.db), suppressed_addresses(harness.db)) == (2, [])


def test_users_who_share_an_address_count_it_once(harness: Harness) -> None:
    with harness.db.write() as connection:
        connection.execute(
            insert(User), [user_row(9, id="twin", email=BAD.upper().replace("EXAMPLE.COM", "example.com"))]
        )
    harness.store.answer("USER00001@example.com", Status.REFUSED, about=About.ADDRESS)
    campaign(harness, Status.REFUSED)
    assert refused_in(harness.db) == 1


def test_last_word_in_a_checkpoint_counts(db: Database) -> None:
    with db.write() as connection:
        words = [said("refused"), said("sent"), said("refused"), said("sent", "B@x.org"), said("refused", "b@x.org")]
        refused_addresses.count(
            connection, "campaign1", [*words, said("refused", "c@x.org"), said("sent", "C@x.org")], START, 3
        )
    assert [refused_in(db, f"{name}@x.org") for name in "abc"] == [1, 1, 0]


def said(what: str, address: str = "a@x.org") -> AddressOutcome:
    return AddressOutcome(address, None if what == "sent" else "no")


def test_in_a_running_campaign_who_is_suppressed_meanwhile_is_skipped_with_the_reason(harness: Harness) -> None:
    campaign(harness, Status.REFUSED)
    campaign(harness, Status.REFUSED)
    waiting = harness.accept()
    harness.plan()
    harness.now += 1
    harness.store.answer(BAD, Status.REFUSED, about=About.ADDRESS)
    harness.accept(priority=Priority.URGENT)
    harness.plan()
    harness.run()
    assert harness.counts() == {"sent": 4, "failed": 1}
    harness.campaign_id = waiting
    assert (harness.progress().state, harness.counts(), harness.progress().planned) == (
        "completed",
        {"sent": 4, "skipped": 1},
        5,
    )
    assert harness.delivery("user00001").reply == "The address is suppressed: refused in 3 campaigns."
    assert examine(harness.db) == []


def test_suppressed_between_two_checkpoints_is_skipped(db: Database, add_users) -> None:
    add_users(db, 5)
    harness = Harness(db, checkpoint=1)
    harness.accept()
    harness.plan()
    claim = harness.outbox.claim()
    assert claim is not None
    items = harness.outbox.due_items(claim)
    with db.write() as connection:
        values = {
            "campaigns": 3,
            "campaign_ids": "x",
            "reply": "no",
            "refused_at": 1,
            "suppressed_at": harness.now,
            "rule": "",
        }
        connection.execute(insert(RefusedAddress).values(address=BAD, **values))
    checkpoint = harness.outbox.checkpoint(claim, [], items[:3], 5)
    assert [item.recipient.user_id for item in checkpoint.items] == ["user00000", "user00002"]
    assert harness.progress().planned == 5
    harness.outbox.release(claim, [], 4)
    harness.run()
    assert harness.progress().planned == sum(harness.counts().values()) == 5


def test_retry_failed_does_not_override_a_suppression(harness: Harness) -> None:
    suppress(harness)
    assert control.retry_failed(harness.db, harness.campaign_id) == 1
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("completed", {"sent": 4, "skipped": 1})


def test_lifted_first_it_is_tried_again_and_counted_anew(harness: Harness) -> None:
    suppress(harness)
    assert lift(harness.db, ["USER00001@Example.com", "user00001@example.com", "other@example.com"]) == Lifted(1, 1)
    assert control.retry_failed(harness.db, harness.campaign_id) == 1
    harness.store.answer(BAD, Status.REFUSED, about=About.ADDRESS)
    harness.run()
    assert (harness.counts(), refused_in(harness.db)) == ({"sent": 4, "failed": 1}, 1)
    control.retry_failed(harness.db, harness.campaign_id)
    harness.run()
    assert (harness.counts(), refused_in(harness.db)) == ({"sent": 5}, 0)


def test_message_that_was_on_its_way_lifts_nothing(harness: Harness) -> None:
    suppress(harness)
    with harness.db.write() as connection:
        taken = AddressOutcome(BAD, None, refused_before=True)
        refused_addresses.count(connection, "campaign9", [taken], harness.now, 3)
    assert len(suppressed_addresses(harness.db)) == 1


@pytest.mark.parametrize("limit", [3, 10])
def test_refusal_that_was_on_its_way_changes_no_date(harness: Harness, limit: int) -> None:
    suppress(harness)
    (before,) = suppressed_addresses(harness.db)
    with harness.db.write() as connection:
        refused_addresses.count(connection, "campaign9", [said("refused", BAD)], harness.now, limit)
    (after,) = suppressed_addresses(harness.db)
    assert (after.suppressed_at, after.campaigns) == (before.suppressed_at, 4)


@pytest.mark.parametrize(("limit", "after"), [(1, 1), (2, 2), (5, 5)])
def test_limit_is_the_setting(db: Database, add_users, limit: int, after: int) -> None:
    add_users(db, 5)
    harness = Harness(db, suppress_after=limit)
    for number in range(after):
        assert suppressed_addresses(db) == [], number
        campaign(harness, Status.REFUSED)
    assert len(suppressed_addresses(db)) == 1


def test_turned_off_nothing_is_counted_and_what_is_suppressed_stays_so(db: Database, add_users) -> None:
    add_users(db, 5)
    on = Harness(db)
    suppress(on)
    off = Harness(db, suppress_after=0)
    off.now = on.now
    assert campaign(off) == {"sent": 4}
    off.store.answer("user00002@example.com", Status.REFUSED, about=About.ADDRESS)
    campaign(off)
    assert refused_in(db, "user00002@example.com") == 0


def test_outcome_that_is_not_recorded_is_not_counted(harness: Harness) -> None:
    harness.accept()
    harness.plan()
    frozen = harness.outbox.claim()
    assert frozen is not None
    item = harness.outbox.due_items(frozen)[1]
    harness.now += harness.lease
    taken_over = harness.outbox.claim()
    assert taken_over is not None
    refused = Result(item, DeliveryStatus.FAILED, 1, 0, "no", about=About.ADDRESS, counts=True)
    for write in (
        lambda: harness.outbox.checkpoint(frozen, [refused], [], 4),
        lambda: harness.outbox.release(frozen, [refused], 4),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert refused_in(harness.db) == 0
    harness.outbox.release(taken_over, [refused], 4)
    assert refused_in(harness.db) == 1


def test_campaigns_refused_at_the_same_moment_all_count(db: Database) -> None:
    begin = threading.Barrier(6)

    def refuse(number: int) -> None:
        begin.wait()
        for address in ("a@x.org", "b@x.org"):
            with db.write() as connection:
                refused_addresses.count(connection, f"campaign{number}", [said("refused", address)], START, 6)

    threads = [threading.Thread(target=refuse, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(one.address, one.campaigns) for one in suppressed_addresses(db)] == [("a@x.org", 6), ("b@x.org", 6)]


def test_outcomes_without_a_refusal_ask_nothing_of_the_database(db: Database) -> None:
    with db.write() as closed:
        pass
    db.close()
    refused_addresses.count(closed, "campaign", [said("sent"), said("sent", "b@x.org")], START, 3)
    for outcome in (said("refused"), AddressOutcome("a@x.org", None, refused_before=True)):
        with pytest.raises(ResourceClosedError):  # where there is something to write it does try
            refused_addresses.count(closed, "campaign", [outcome], START, 3)


def test_recipient_is_known_as_refused_before_until_a_message_is_taken(harness: Harness) -> None:
    def known() -> list[str]:
        harness.accept()
        harness.plan()
        claim = harness.outbox.claim()
        assert claim is not None
        with harness.db.read() as connection:
            items, _ = still_eligible(connection, claim, harness.outbox.due_items(claim))
        harness.outbox.release(claim, [], 5)
        harness.run()
        harness.now += MINUTE
        return [item.recipient.address for item in items if item.refused_before]

    assert known() == []
    campaign(harness, Status.REFUSED)
    assert known() == [BAD]  # and takes that message
    assert known() == []


def test_purge_forgets_old_refusals_and_keeps_suppressions(harness: Harness) -> None:
    suppress(harness)
    harness.store.answer("user00002@example.com", Status.REFUSED, about=About.ADDRESS)
    campaign(harness)
    harness.now += 90 * DAY
    harness.store.answer("user00003@example.com", Status.REFUSED, about=About.ADDRESS)
    campaign(harness)
    purge(harness.db, 90 * DAY)
    counted = [refused_in(harness.db, f"user{number:05d}@example.com") for number in (1, 2, 3)]
    assert counted == [3, 0, 1]
    assert campaign(harness) == {"sent": 4}


KILLS = [
    [Trap("checkpoint", "before", 2), Trap("checkpoint", "after", 2), Trap("release", "before")],
    [Trap("outcome", "after", 2), Trap("release", "after"), Trap("checkpoint", "after", 1)],
]


@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.parametrize("traps", KILLS, ids=[" and ".join(map(str, traps)) for traps in KILLS])
def test_campaign_counts_once_though_its_worker_is_killed(db: Database, add_users, tmp_path: Path, traps) -> None:
    add_users(db, 8)
    with recording_smtp(tmp_path, Fault("RCPT", "550 5.1.1 no such user", recipient=BAD)) as server:
        settings = settings_for(tmp_path, server.url, database_url=db.url, batch_size=4, checkpoint=2)
        for number, trap in enumerate(traps, 1):
            harness = accepted(db)
            with Worker(settings, trap) as doomed:
                assert doomed.wait() == -signal.SIGKILL
            assert refused_in(db) in (number - 1, number)
            with db.write() as connection:
                connection.execute(update(Batch).where(Batch.state == "running").values(due_at=0))
            finish(settings, harness)
            assert (harness.counts(), refused_in(db)) == ({"sent": 7, "failed": 1}, number)
        harness = accepted(db)
        finish(settings, harness)
        assert harness.counts() == {"sent": 7}
        assert suppressed_addresses(db)[0].reply == "550 5.1.1 no such user"


def accepted(db: Database) -> Harness:
    """A campaign over a clock that is the database's own."""
    clock = db.clock
    harness = Harness(db)
    db.clock = clock
    harness.accept()
    return harness


def finish(settings: Settings, harness: Harness) -> None:
    with Worker(settings):
        for _ in attempts(60, pause=0.05):
            if harness.progress().state in END_STATES:
                assert examine(harness.db) == []
                return
    raise AssertionError(harness.progress())


@pytest.mark.parametrize(
    "address", ["A.b+C@x.org", "ÜNAL@x.org", "İstanbul@x.org", "\u212a@x.org", "ß\U0001f600Z@x.org"]
)
def test_addresses_compare_alike_in_python_and_both_databases(db: Database, address: str) -> None:
    with db.write() as connection:
        connection.execute(insert(User), [user_row(1, id="ann", email=address)])
        assert connection.scalar(select(func.lower(User.email))) == comparable(address)
        assert connection.scalar(select(func.lower(User.email) == literal(comparable(address))))


def test_pages_of_addresses_follow_each_other(db: Database) -> None:
    with db.write() as connection:
        refused_addresses.count(connection, "campaign1", [said("refused", f"{name}@x.org") for name in "cab"], START, 1)
    assert [one.address for one in suppressed_addresses(db, count=2)] == ["a@x.org", "b@x.org"]
    assert [one.address for one in suppressed_addresses(db, after="b@x.org")] == ["c@x.org"]
