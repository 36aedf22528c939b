from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_transport_contract import make_message
from transports import TransportUnavailable
from transports.held_slots import Slots
from transports.rate import PAUSE, Rate, TooSlow, in_groups, in_requests
from transports.shared_limit import SharedLimit
from transports.slots import (
    AHEAD,
    LATE,
    NOTHING,
    Block,
    Count,
    CounterAway,
    Limits,
    MemoryCounter,
    QuotaUsedUp,
    SlotCounter,
    Warmup,
    hand_out,
)

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()
VIENNA = ZoneInfo("Europe/Vienna")


class Clock:
    """A time that passes by sleeping, for the counter as for the process."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def held(clock: Clock, counter: SlotCounter | None = None, **limits: object) -> Slots:
    wanted: Limits = replace(Limits("relay"), **limits)  # type: ignore[arg-type]
    return Slots(wanted, counter or MemoryCounter(clock), clock)


def moments(clock: Clock, slots: Slots, count: int, work: Callable[[int], float] = lambda _number: 0.0) -> list[float]:
    found = []
    for number in range(count):
        seconds, taken = slots.reserve()
        assert taken == 1
        clock.now += seconds
        found.append(clock.now)
        clock.now += work(number)
    return found


def excess(times: list[float], rate: float) -> float:
    """By how many messages the rate was exceeded in the worst of all windows."""
    times = sorted(times)
    return max(
        (last - first + 1) - rate * (times[last] - times[first])
        for first in range(len(times))
        for last in range(first, len(times))
    )


def test_slots_come_evenly_without_a_burst() -> None:
    clock = Clock()

    found = moments(clock, held(clock, interval=100.0), 5)

    assert [round(moment - NOON, 3) for moment in found] == [0.0, 0.1, 0.2, 0.3, 0.4]


@given(
    interval=st.sampled_from([0.5, 20.0, 100.0, 333.3, 5000.0]),
    rests=st.lists(st.sampled_from([0.0, 0.0001, 0.01, 0.06, 0.5, 2.0, 1000.0]), min_size=1, max_size=80),
    holders=st.integers(1, 4),
)
def test_rate_is_never_exceeded_by_all_who_share_the_counter(interval: float, rests: list[float], holders: int) -> None:
    clock = Clock()
    counter = MemoryCounter(clock)
    sharing = [held(clock, counter, interval=interval) for _ in range(holders)]
    found = []

    for number, rest in enumerate(rests):
        clock.now += rest
        seconds, taken = sharing[number % holders].reserve(patience=1e9)
        found += [clock.now + seconds] * taken

    rate = 1000 / interval
    assert found
    assert excess(found, rate) <= rate * LATE + 1 + 1e-3


@pytest.mark.parametrize("holders", [1, 2, 5])
def test_rate_is_reached_by_all_who_share_the_counter(holders: int) -> None:
    clock = Clock()
    counter = MemoryCounter(clock)
    sharing = [held(clock, counter, interval=10.0) for _ in range(holders)]
    free = [NOON] * holders
    found = []

    while len(found) < 1000:
        number = free.index(min(free))
        clock.now = free[number]
        seconds, taken = sharing[number].reserve()
        found += [clock.now + seconds] * taken
        free[number] = clock.now + seconds + 0.002  # what a message takes

    assert max(found) - NOON == pytest.approx(10.0, abs=0.5)


def test_slot_is_nobodys_until_shortly_before_its_moment() -> None:
    """So who needs it most then has it, and a process that goes away takes none with it."""
    clock = Clock()
    counter = MemoryCounter(clock)
    first, second = (held(clock, counter, interval=1000.0) for _ in range(2))
    assert first.reserve() == (0.0, 1)

    seconds, taken = first.reserve()
    assert taken == 0
    assert 1 - AHEAD <= seconds <= 1
    clock.now += 0.8

    assert second.reserve() == (pytest.approx(0.2), 1)
    clock.now += 0.2
    assert first.reserve()[1] == 0


def test_of_those_who_wait_for_a_slot_not_always_the_same_gets_it() -> None:
    clock = Clock()
    counter = MemoryCounter(clock)
    waiting = [held(clock, counter, interval=1000.0) for _ in range(2)]
    got = [0, 0]
    asks = [NOON, NOON]
    while sum(got) < 40:
        number = asks.index(min(asks))
        clock.now = asks[number]
        seconds, taken = waiting[number].reserve(patience=PAUSE)
        got[number] += taken
        asks[number] = clock.now + max(seconds, 0.001)

    assert min(got) >= 5


def test_counter_is_asked_no_more_often_than_slots_come() -> None:
    clock = Clock()
    asked: list[float] = []

    class Asked(MemoryCounter):
        def take(self, limits: Limits, wanted: int, unused: Block) -> Block:
            asked.append(clock.now)
            return super().take(limits, wanted, unused)

    slots = held(clock, Asked(clock), interval=10_000.0)
    for _ in range(400):
        slots.reserve(patience=PAUSE)
        clock.now += 0.1

    assert len(asked) <= 2 * 5


def test_message_goes_at_once_when_its_slot_has_come_in_block_after_block() -> None:
    clock = Clock()
    rate = rate_of(clock, held(clock, interval=20.0))
    gone = 0
    for _ in range(1000):
        gone += rate.take()
        clock.now += 0.005

    assert gone == pytest.approx(250, abs=2)


def test_counter_is_asked_once_a_block() -> None:
    clock = Clock()
    counter = MemoryCounter(clock)
    asked: list[int] = []

    class Asked(MemoryCounter):
        def take(self, limits: Limits, wanted: int, unused: Block) -> Block:
            asked.append(wanted)
            return counter.take(limits, wanted, unused)

    moments(clock, held(clock, Asked(), interval=5.0), 1000)

    assert asked == [20] * 50


def test_other_rate_does_not_wait_for_the_slots_of_the_rate_before() -> None:
    clock = Clock()
    counter = MemoryCounter(clock)
    held(clock, counter, interval=86_400_000.0).reserve()

    assert held(clock, counter, interval=20.0).reserve(patience=1e9)[0] <= 200


def test_quota_is_used_up_until_midnight_of_its_zone() -> None:
    clock = Clock()
    slots = held(clock, quota=3, zone=VIENNA)
    for _ in range(3):
        slots.reserve()

    with pytest.raises(QuotaUsedUp, match=r"quota of 3 .* until 2026-03-29 00:00 Europe/Vienna") as caught:
        slots.reserve()

    assert caught.value.retry_after == 11 * 3600  # in Vienna it is 13:00
    clock.now += 11 * 3600
    assert slots.reserve() == (0.0, 1)
    clock.now += 22 * 3600  # the day of the change to summer time has 23 hours
    assert moments(clock, slots, 2)
    with pytest.raises(QuotaUsedUp):
        slots.reserve()
    clock.now += 3600
    assert slots.reserve() == (0.0, 1)


def test_slots_of_a_day_are_worth_nothing_on_the_next() -> None:
    clock = Clock()
    counter = MemoryCounter(clock)
    slots = held(clock, counter, quota=1000)
    slots.reserve()
    clock.now += 86_400

    moments(clock, slots, 1)

    assert counter.read(slots.limits)[0].used == 10  # one block, and nothing of yesterday's given back


@given(taken=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 7)), max_size=60), quota=st.integers(1, 300))
def test_quota_is_never_exceeded_and_a_holder_keeps_at_most_a_block(taken: list[tuple[int, int]], quota: int) -> None:
    clock = Clock()
    counter = MemoryCounter(clock)
    sharing = [held(clock, counter, quota=quota) for _ in range(3)]
    sent = 0

    for number, most in taken:
        try:
            sent += sharing[number].reserve(most + 1)[1]
        except QuotaUsedUp:
            assert sent > quota - 3 * max(8, quota // 100)
    assert sent <= quota
    assert sent <= counter.read(sharing[0].limits)[0].used <= quota


def test_clock_set_back_over_midnight_gives_no_second_day() -> None:
    limits = Limits("relay", quota=5)
    late, early = (datetime(2026, 5, day, hour, tzinfo=UTC).timestamp() * 1000 for day, hour in ((2, 0), (1, 23)))
    count, _ = hand_out(limits, Count(), late, 5)

    with pytest.raises(QuotaUsedUp):
        hand_out(limits, count, early, 1)


def all_of_the_day(slots: Slots) -> int:
    sent = 0
    with suppress(QuotaUsedUp):
        for _ in range(10_000):
            sent += slots.reserve(50)[1]
    return sent


def test_warmup_doubles_with_each_day_with_mail_until_the_quota() -> None:
    clock = Clock()
    counter = MemoryCounter(clock)
    limits = Limits("relay", quota=1500, warmup=Warmup(200, 2.0))
    allowed = []
    for number in range(8):
        if number != 2:  # nobody sends on this day
            allowed.append(all_of_the_day(Slots(limits, counter, clock)))
        clock.now += 86_400

    assert allowed == [200, 400, 800, 1500, 1500, 1500, 1500]


def test_warmup_says_what_is_used_up() -> None:
    clock = Clock()
    slots = held(clock, quota=1000, warmup=Warmup(1, 1.5))
    slots.reserve()

    with pytest.raises(QuotaUsedUp, match="warm-up's share of 1 messages a day for relay is used up until 2026-03-29"):
        slots.reserve()


def test_warmup_ends_at_the_rate() -> None:
    limits = Limits("relay", interval=60_000.0, warmup=Warmup(500, 2.0))

    assert [limits.allowance(days) for days in range(4)] == [500, 1000, None, None]


def test_warmup_that_is_set_later_begins_then() -> None:
    clock = Clock()
    counter = MemoryCounter(clock)
    moments(clock, held(clock, counter, quota=1000), 3)
    clock.now += 86_400

    slots = held(clock, counter, quota=1000, warmup=Warmup(10, 2.0))
    slots.reserve()

    count, _ = counter.read(slots.limits)
    assert (count.days, count.first_day) == (0, count.day)


def rate_of(clock: Clock, slots: Slots | None, **more: object) -> Rate:
    return Rate(slots, sleep=clock.sleep, **more)  # type: ignore[arg-type]


def test_wait_sleeps_until_the_turn_comes() -> None:
    clock = Clock()
    rate = rate_of(clock, held(clock, interval=30_000.0))

    rate.wait()
    rate.wait()

    assert clock.now == pytest.approx(NOON + 30, abs=LATE)
    assert not rate.take()


def test_waiting_ends_when_nothing_is_wanted_any_more() -> None:
    clock = Clock()
    rate = rate_of(clock, held(clock, interval=30_000.0, quota=10))
    rate.wait()

    assert rate.wait(lambda: clock.now < NOON + 1) == 0
    assert clock.now - NOON == pytest.approx(1.0, abs=0.3)
    rate.wait()
    assert clock.now - NOON == pytest.approx(30.0)


def test_slot_that_is_far_away_is_trouble_with_the_rate_and_is_kept() -> None:
    clock = Clock()
    rate = rate_of(clock, held(clock, interval=3_600_000.0))
    rate.wait()

    for _ in range(3):
        with pytest.raises(TooSlow, match="no room") as caught:
            rate.wait()
        assert caught.value.retry_after == pytest.approx(3600, abs=AHEAD)

    clock.now += 3600
    assert rate.wait() == 1


def test_counter_that_is_away_is_asked_again_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("transports.rate.time.monotonic", clock)
    answers = [CounterAway("gone")] * 3

    class Away(MemoryCounter):
        def take(self, limits: Limits, wanted: int, unused: Block) -> Block:
            if answers:
                raise answers.pop()
            return super().take(limits, wanted, unused)

    rate = rate_of(clock, held(clock, Away(clock), interval=20.0))
    assert not rate.take()
    assert not rate.take()  # and does not ask again so soon
    assert len(answers) == 2
    assert rate.wait() == 1
    assert clock.now - NOON == pytest.approx(0.5)

    answers.extend([CounterAway("gone")] * 50)
    clock.now += 1
    with pytest.raises(CounterAway):
        rate.wait()
    assert clock.now - NOON == pytest.approx(11.5)


def test_request_has_what_may_go_in_a_second_and_gives_back_the_rest() -> None:
    clock = Clock()
    rate = rate_of(clock, held(clock, interval=100.0, quota=10_000))
    sent = [(len(group), round(clock.now - NOON, 3)) for group in in_requests(map(make_message, "a" * 27), rate, 50)]

    assert [count for count, _ in sent] == [10, 10, 7]
    assert sent[-1][1] == pytest.approx(2.0, abs=0.06)
    rate.wait()
    assert clock.now - NOON == pytest.approx(2.7, abs=0.06)


def test_group_has_what_may_go_at_this_moment() -> None:
    clock = Clock()
    groups = list(in_groups(map(make_message, "a" * 200), rate_of(clock, held(clock, interval=1.0)), 64))

    assert sum(map(len, groups)) == 200
    assert max(map(len, groups)) == 1
    assert [len(group) for group in in_groups(map(make_message, "a" * 70), None, 64)] == [64, 6]


def test_shared_limit_counts_over_all_who_share_it() -> None:
    from limits import parse

    clock = Clock()
    limit = SharedLimit(parse("3/hour"), "memory://", "a")
    slots = held(clock, quota=100)
    rates = [rate_of(clock, slots, shared=limit), rate_of(clock, None, shared=limit)]
    for number in range(3):
        rates[number % 2].wait()

    assert not rates[0].take()
    with pytest.raises(QuotaUsedUp):  # what the limit refused has used up nothing of the quota
        moments(clock, slots, 99)
    assert slots.counter.read(slots.limits)[0].used == 100


def test_storage_that_does_not_answer_is_trouble_with_the_transport() -> None:
    pytest.importorskip("redis", reason="the redis client is not installed")
    from transports.options import Options
    from transports.rate_options import OPTIONS

    options = Options("smtp", "rate=5/second&rate_storage=redis://127.0.0.1:1&quota=7/day", OPTIONS)
    rate = Rate.from_options(options, "k")
    assert rate is not None

    assert not rate.take()
    with pytest.raises(TransportUnavailable, match="does not answer"):
        rate.wait()
    assert rate.limits.text == "rate 5/second, quota 7/day"


def test_rate_is_kept_by_many_threads() -> None:
    clock = Clock()
    slots = held(clock, interval=1.0)
    waits: list[float] = []

    def reserve() -> None:
        waits.extend(slots.reserve(patience=1e9)[0] for _ in range(50))

    threads = [threading.Thread(target=reserve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    late = 1000 * LATE
    assert len(waits) == 200
    assert all(number - late <= 1000 * wait <= number + 1 for number, wait in enumerate(sorted(waits)))


def test_nothing_is_given_back_of_no_block() -> None:
    count, block = hand_out(Limits("relay", quota=5), Count(), NOON * 1000, 9, NOTHING)

    assert (block.count, count.used) == (5, 5)
