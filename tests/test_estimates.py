"""How long a campaign would take that is accepted now: by the queue, the rate, the quota, the window, the breaker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, update

from mailer.campaigns.estimates.estimate import NEVER_SENT, NO_WORKER, Estimate, Estimator, duration
from mailer.campaigns.estimates.pace import Quota
from mailer.campaigns.estimates.queue_ahead import Share, messages_until
from mailer.campaigns.hold import hold, release
from mailer.delivery import circuit_breaker
from mailer.settings.send_window import SendWindow
from mailer.storage.database import Database
from mailer.storage.models import Batch, Campaign, CampaignMinute, Priority, SeenWorker, SlotCount
from tests.calling import calling
from tests.harness import MINUTE, START, Harness
from tests.service import PAYLOAD
from transports import from_url
from transports.rate import rates_of
from transports.slots import Count, Limits, Warmup

NORMAL, BULK, URGENT = Priority.NORMAL, Priority.BULK, Priority.URGENT
DAY = 86_400
NOTHING = dict.fromkeys(("sent", "failed", "deferred", "uncertain", "skipped"), 0)


def campaign(db: Database, name: str, planned: int, sent: int, **changes: Any) -> None:
    """One of ben's, with a single batch; it began ten seconds ago."""
    text = {"sender_name": "", "sender": "n@example.com", "subject": "s", "body": "b", "query": {}, "dry_run": False}
    times = {"created_at": START, "due_at": START, "started_at": START - 10_000, "fence": 0}
    row = {"id": name, "caller_id": "ben", "state": "running", "priority": "normal", **text, **times, **changes}
    done = "done" if planned == sent else "waiting"
    place = {"campaign_id": name, "number": 0, "first_id": "a", "last_id": "z", "due_at": START, "fence": 0}
    batch = {**place, "state": done, "attempting": [], "planned": planned, **NOTHING, "sent": sent}
    with db.write() as connection:
        connection.execute(insert(Campaign), row)
        connection.execute(insert(Batch), batch)


def ended(db: Database, name: str = "ended", *, sent: int = 1000, seconds: float = 10) -> None:
    over = {"state": "completed", "started_at": START - 60_000, "finished_at": START - 60_000 + int(seconds * 1000)}
    campaign(db, name, sent, sent, **over)


def worker(db: Database, **changes: Any) -> None:
    row = {"id": "w", "host": "h", "pid": 1, "engine": "local", "role": "web", "version": "0", "doing": ""}
    with db.write() as connection:
        connection.execute(insert(SeenWorker), {**row, "started_at": START, "seen_at": START, **changes})


@pytest.fixture
def quick(db: Database) -> Database:
    """A database at `START`, of a service that lately sent 100 messages a second and has a worker."""
    Harness(db)
    worker(db)
    ended(db)
    return db


def estimated(db: Database, count: int = 1000, url: str = "memory:", window: str = "", **more: Any) -> Estimate:
    hours = SendWindow.parse(window) if window else None
    return Estimator(db, from_url(url), hours).estimate(more.pop("caller", "ann"), count, **more)


# --- from the database ------------------------------------------------------------------------------------------------


def test_time_is_that_of_the_last_campaigns(quick: Database) -> None:
    found = estimated(quick)

    assert (found.estimated_seconds, found.starts_in, found.words) == (10, 0, "about 10 s")


def test_other_campaign_of_the_same_size_doubles_it_and_is_named(quick: Database) -> None:
    campaign(quick, "other", 3000, 0)
    found = estimated(quick)

    assert (found.estimated_seconds, found.words) == (20, "about 20 s, beside one other campaign of 3,000")


def test_several_and_those_that_are_not_planned_are_named(quick: Database) -> None:
    campaign(quick, "first", 500, 100)
    campaign(quick, "second", 600, 0, caller_id="eve")
    campaign(quick, "third", 0, 0, state="accepted", started_at=None)
    campaign(quick, "paused", 9000, 0, state="paused")

    assert estimated(quick).words == "about 20 s, beside 2 other campaigns of 1,000, 1 more not planned yet"


def test_own_bulk_campaign_hardly_holds_up_an_urgent_one(quick: Database) -> None:
    campaign(quick, "large", 1_000_000, 0, priority="bulk")

    assert estimated(quick, 100, priority=URGENT).estimated_seconds == 2
    assert estimated(quick, 2000, caller="eve").estimated_seconds == 40  # bulk itself, by its size


@pytest.mark.parametrize("nobody", [None, {"engine": "celery"}, {"seen_at": START - 10 * MINUTE}])
def test_without_a_worker_nothing_is_known(db: Database, nobody: dict[str, Any] | None) -> None:
    Harness(db)
    ended(db)
    if nobody is not None:
        worker(db, **nobody)
    found = estimated(db)

    assert (found.estimated_seconds, found.starts_in) == (None, None)
    assert found.words == f"cannot be told now: {NO_WORKER}"


def test_while_all_is_held_nothing_is_known(quick: Database) -> None:
    hold(quick, "an outage")
    found = estimated(quick)
    assert (found.estimated_seconds, found.starts_in) == (None, None)
    assert found.words.startswith("cannot be told now: all sending is held since ")

    release(quick)

    assert estimated(quick).estimated_seconds == 10


def test_open_breaker_says_when_it_is_tried_again_and_not_when_it_ends(quick: Database) -> None:
    with quick.write() as connection:
        circuit_breaker.trip(connection, "no answer", START, half_open=False, retry_after=90)
    found = estimated(quick)

    assert found.estimated_seconds is None
    assert found.starts_in is not None
    assert 60 <= found.starts_in <= 120
    assert found.why == "the transport fails: no answer"


def test_closed_window_is_waited_for_unless_it_is_urgent(quick: Database) -> None:
    """`START` is 22:13:20 UTC."""
    found = estimated(quick, window="23:00-24:00 UTC")
    assert (found.starts_in, found.estimated_seconds) == (2800, 2810)
    assert found.words == "about 46 min, the send window is closed, so it begins in about 46 min"

    assert estimated(quick, window="23:00-24:00 UTC", priority=URGENT).estimated_seconds == 10


def test_before_anything_was_sent_only_a_rate_tells_it(db: Database) -> None:
    Harness(db)
    worker(db)
    unknown = estimated(db)
    assert (unknown.estimated_seconds, unknown.starts_in, unknown.why) == (None, 0, NEVER_SENT)

    assert estimated(db, url="file:///tmp?rate=50/second").estimated_seconds == 20


def test_rate_slows_down_and_does_not_speed_up(quick: Database) -> None:
    assert estimated(quick, url="file:///tmp?rate=50/second").estimated_seconds == 20
    assert estimated(quick, url="file:///tmp?rate=5000/second").estimated_seconds == 10


def by_minute(db: Database, name: str, *tried: int) -> None:
    """So many were tried in each of the last minutes, the last of which has begun; half of them failed."""
    last = START - START % MINUTE
    rows = [
        {"campaign_id": name, "minute": last - MINUTE * ago, "part": part, **NOTHING, what: number // 2}
        for ago, number in enumerate(reversed(tried))
        for part, what in enumerate(("sent", "failed"))
    ]
    with db.write() as connection:
        connection.execute(insert(CampaignMinute), rows)


def test_usual_minute_of_a_long_campaign_counts(db: Database) -> None:
    """It rested for hours, which says nothing of how fast it is, and neither does one quick minute."""
    Harness(db)
    worker(db)
    campaign(db, "slow", 12_000, 12_000, state="completed", started_at=START - 10**7, finished_at=START)
    by_minute(db, "slow", 10, 6000, 0, 90_000, 3000, 6000, 20)

    assert estimated(db, 1000).estimated_seconds == 10


def test_small_campaign_says_nothing_of_a_large_one(quick: Database) -> None:
    ended(quick, "f-slow", sent=3000, seconds=300)
    ended(quick, "g-tiny", sent=25, seconds=0.05)

    assert estimated(quick, 2000).estimated_seconds == 200
    assert estimated(quick, 100).estimated_seconds == 1  # 500 a second, as the last one
    assert estimated(quick, 1_000_000).estimated_seconds == 100_000  # the largest, if none is so large


def test_latest_of_comparable_campaigns_counts_whether_it_was_quicker_or_slower(quick: Database) -> None:
    for name, seconds, expected in (("f", 100, 100), ("g", 2, 2), ("h", 500, 500)):
        ended(quick, name, sent=1000, seconds=seconds)
        assert estimated(quick).estimated_seconds == expected


def test_what_is_sent_now_counts_before_all_that_was(quick: Database) -> None:
    """`START` is 20 seconds into its minute; this one began in the minute before."""
    campaign(quick, "now", 5000, 2000, started_at=START - 80_000)
    by_minute(quick, "now", 1500, 500)

    assert (
        estimated(quick, 25).words == "about 2 s, beside one other campaign of 3,000"
    )  # 25 a second, and half of them


def test_failures_take_time_like_what_was_sent(db: Database) -> None:
    Harness(db)
    worker(db)
    ended(db, sent=0, seconds=10)
    with db.write() as connection:
        connection.execute(update(Batch).values(planned=1000, failed=1000))

    assert estimated(db, 100).estimated_seconds == 1


def test_used_up_quota_goes_on_tomorrow(quick: Database) -> None:
    url = "file:///tmp?quota=1500/day"
    key = rates_of(from_url(url))[0].limits.key
    today = Limits("").day_of(START)
    row = {"key": key, "next_at_us": 0, "day": today, "used": 1500, "first_day": 0, "days": 0}
    left = (Limits("").next_day(today) - START) / 1000
    assert estimated(quick, url=url).estimated_seconds == 10

    with quick.write() as connection:
        connection.execute(insert(SlotCount), row)
    found = estimated(quick, url=url)

    assert (found.starts_in, found.estimated_seconds) == (left, left + 10)
    assert found.why == "the day's quota is used up"


def test_nobody_takes_no_time(quick: Database) -> None:
    assert estimated(quick, 0).estimated_seconds == 0


# --- by themselves ----------------------------------------------------------------------------------------------------


def test_quota_is_followed_over_the_days() -> None:
    noon = 43_200_000.0
    limits = Limits("k", quota=100)
    quota = Quota(limits, Count(day=limits.day_of(noon), used=40), noon)

    assert quota.seconds_for(60, 1.0, 0) == 60
    assert quota.seconds_for(61, 1.0, 0) == DAY / 2 + 1
    assert quota.seconds_for(161, 1.0, 0) == DAY * 1.5 + 1
    assert quota.seconds_for(10, 1.0, 30) == 40
    assert quota.seconds_for(10**9, 1.0, 0) is None


def test_warm_up_allows_more_each_day() -> None:
    limits = Limits("k", interval=10.0, warmup=Warmup(100, 2.0))
    quota = Quota(limits, Count(day=limits.day_of(0.0), used=0), 0.0)

    assert quota.seconds_for(300, 100.0, 0) == DAY + 2
    assert quota.seconds_for(301, 100.0, 0) == 2 * DAY + 0.01


SHARED: dict[str, tuple[Share, list[Share], float]] = {
    "alone": (Share(("a", NORMAL), 10), [], 10),
    "equal": (Share(("a", NORMAL), 10), [Share(("b", NORMAL), 10)], 20),
    "a small other": (Share(("a", NORMAL), 10), [Share(("b", NORMAL), 4)], 14),
    "a large other": (Share(("a", NORMAL), 10), [Share(("b", NORMAL), 1000)], 20),
    "two of one account": (Share(("a", NORMAL), 10), [Share(("a", NORMAL), 90), Share(("b", NORMAL), 90)], 40),
    "before bulk": (Share(("a", NORMAL), 8), [Share(("b", BULK), 100)], 9),
    "behind urgent": (Share(("a", NORMAL), 8), [Share(("b", URGENT), 8)], 16),
}


@pytest.mark.parametrize(("mine", "others", "until"), SHARED.values(), ids=SHARED)
def test_messages_until_the_last_of_a_campaign(mine: Share, others: list[Share], until: float) -> None:
    assert messages_until(mine, others) == pytest.approx(until)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "1 s"), (0.2, "1 s"), (59, "59 s"), (60, "1 min"), (12_000, "3 h 20 min"), (183_600, "2 d 3 h")],
)
def test_duration_has_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


# --- where it is told -------------------------------------------------------------------------------------------------


@pytest.fixture
def client(any_db: Database, add_users: Callable[..., Any]) -> Iterator[FlaskClient]:
    add_users(any_db, 3)
    with calling(any_db) as made:
        yield made


def test_audience_and_preview_tell_it(client: FlaskClient, any_db: Database) -> None:
    def told(path: str, payload: dict[str, Any]) -> tuple[Any, ...]:
        answer: Any = client.post(f"/api/v1/mailer/{path}", json=payload).json
        return tuple(answer[name] for name in ("estimatedSeconds", "startsIn", "estimate"))

    nothing = (None, None, f"cannot be told now: {NO_WORKER}")
    body = {name: PAYLOAD[name] for name in ("from", "subject", "body")}
    assert (told("audience", {}), told("preview", body)) == (nothing, nothing)

    with any_db.read() as connection:
        now = any_db.clock(connection)
    worker(any_db, seen_at=now)
    campaign(any_db, "c", 100, 100, state="completed", started_at=now - 20_000, finished_at=now - 10_000)

    assert (told("audience", {}), told("preview", body)) == ((1, 0, "about 1 s"), (1, 0, "about 1 s"))
