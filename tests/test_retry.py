"""The retry table, as numbers."""

import pytest

from mailer.delivery.retry import MINUTE, next_attempt, transport_back_off, uncertain_again
from mailer.storage.scheduled_tasks import next_run

HOUR = 60 * MINUTE


@pytest.mark.parametrize(("attempts", "minutes"), [(1, 1), (2, 5), (3, 15), (4, 60), (5, 240), (6, 720), (7, 720)])
def test_delay_follows_the_table(attempts: int, minutes: int) -> None:
    assert next_attempt(attempts, 0, 0, chance=0.5) == minutes * MINUTE


@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.9), (1.0, 1.1)])
def test_jitter_is_a_tenth_either_way(chance: float, share: float) -> None:
    assert next_attempt(3, 0, 0, chance=chance) == pytest.approx(15 * MINUTE * share)


def test_eighth_attempt_is_the_last() -> None:
    assert next_attempt(8, 0, 0, chance=0.5) is None


def test_nothing_is_tried_after_a_day() -> None:
    assert next_attempt(1, 0, 24 * HOUR - MINUTE, chance=0.5) == 24 * HOUR
    assert next_attempt(1, 0, 24 * HOUR, chance=0.5) is None


@pytest.mark.parametrize(
    ("uncertain_attempts", "policy", "due"),
    [(1, "retry", 7), (2, "retry", None), (3, "retry", None), (1, "hold", None)],
)
def test_uncertain_is_sent_again_once_at_most(uncertain_attempts: int, policy: str, due: int | None) -> None:
    assert uncertain_again(uncertain_attempts, 7, policy=policy) == due


@pytest.mark.parametrize(("step", "seconds"), [(1, 5), (2, 15), (3, 30), (4, 60), (5, 120), (6, 300), (99, 300)])
def test_transport_is_left_alone_longer_each_time(step: int, seconds: int) -> None:
    assert transport_back_off(step) == seconds * 1000


@pytest.mark.parametrize(("took", "due"), [(0, 15), (14, 15), (15, 30), (50, 60), (-20, -15)])
def test_task_keeps_to_its_times_and_leaves_out_what_is_past(took: int, due: int) -> None:
    assert next_run(0, took * MINUTE, 15 * MINUTE) == due * MINUTE


@pytest.mark.parametrize(("failures", "minutes"), [(1, 1), (2, 5), (3, 15), (4, 60), (99, 60)])
def test_failed_task_is_tried_sooner_than_its_next_time(failures: int, minutes: int) -> None:
    assert next_run(0, 2 * MINUTE, 24 * HOUR, failures=failures) == (2 + minutes) * MINUTE
    assert next_run(0, 2 * MINUTE, 3 * MINUTE, failures=failures) == 3 * MINUTE
