from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.base import TransportConfigError, TransportUnavailable
from transports.rate import LATE, Pace, Rate, SharedLimit, parse


def test_pace_gives_no_burst_at_the_start() -> None:
    pace = Pace(0.1)

    assert [pace.reserve(100.0) for _ in range(4)] == pytest.approx([0.0, 0.09, 0.19, 0.29])


def test_pace_take_is_true_once_an_interval() -> None:
    pace = Pace(1.0)

    assert [pace.take(now) for now in (0.0, 0.5, 0.98, 1.0, 1.01, 9.0, 9.0)] == [
        True,
        False,
        False,
        True,
        False,
        True,
        False,
    ]


@given(
    interval=st.sampled_from([0.0002, 0.02, 1.0, 360.0]),
    rests=st.lists(st.sampled_from([0.0, 0.0001, 0.01, 0.5, 2.0, 1000.0]), max_size=60),
)
def test_pace_never_exceeds_the_rate(interval: float, rests: list[float]) -> None:
    pace, now, moments = Pace(interval), 1000.0, []

    for rest in rests:
        now += rest
        now += pace.reserve(now)
        moments.append(now)

    for first, start in enumerate(moments):
        for last in range(first, len(moments)):
            allowed = (moments[last] - start + min(LATE, interval)) / interval + 1
            assert last - first + 1 <= allowed + 1e-6


def test_wait_sleeps_until_the_turn_comes() -> None:
    slept: list[float] = []
    rate = Rate(Pace(60.0), sleep=slept.append)

    rate.wait()
    rate.wait()

    assert slept[0] == 0
    assert slept[1] == pytest.approx(60, abs=1)
    assert not rate.take()


def test_shared_limit_counts_over_all_who_share_it() -> None:
    storage = "memory://"
    limit = SharedLimit(parse("3/hour"), storage, "a")
    slept: list[float] = []

    class Enough(Exception):
        pass

    def sleep(seconds: float) -> None:
        if seconds:
            slept.append(seconds)
            raise Enough

    rates = [Rate(Pace(0.0), limit, sleep) for _ in range(2)]
    for number in range(3):
        rates[number % 2].wait()

    assert not rates[0].take()
    with pytest.raises(Enough):
        rates[1].wait()
    assert slept == [60.0]


def test_storage_that_does_not_answer_is_trouble_with_the_transport() -> None:
    pytest.importorskip("redis", reason="the redis client is not installed")
    rate = Rate.parse("5/second", "redis://127.0.0.1:1", "k")

    with pytest.raises(TransportUnavailable, match="does not answer"):
        rate.wait()


@pytest.mark.parametrize("text", ["", "fast", "0/second", "-1/second", "5", "5/fortnight", "5/second; 9/hour x"])
def test_bad_rate_is_refused(text: str) -> None:
    with pytest.raises(TransportConfigError, match="not a rate"):
        Rate.parse(text)


def test_rate_is_kept_by_many_threads() -> None:
    pace = Pace(1.0)
    waits: list[float] = []

    def reserve() -> None:
        waits.extend(pace.reserve(50.0) for _ in range(200))

    threads = [threading.Thread(target=reserve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(waits)[1:] == pytest.approx([number - LATE for number in range(1, 800)])
