"""How many campaigns in a row count against an address, as a table of what came of each."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.suppression.bounces_in_a_row import PROVED, still_counted, worth_keeping

NOW = 100 * PROVED
OLD, RECENT = NOW - PROVED, NOW - PROVED + 1
# b: bounced for good, t: taken seven days ago, r: taken less than seven days ago, s: came back in a way not counted
WHEN = {"t": OLD, "r": RECENT, "s": None}
stories = st.text(st.sampled_from("btrs"), max_size=14)


def told(story: str) -> tuple[list[str], dict[str, int | None]]:
    ids = [f"{number:03}" for number in range(len(story))]
    taken = {one: WHEN[what] for one, what in zip(ids, story, strict=True) if what != "b"}
    return [one for one in ids if one not in taken], taken


@pytest.mark.parametrize(
    ("story", "counted"),
    [
        ("", 0),
        ("b", 1),
        ("bbb", 3),
        ("bt", 1),
        ("btb", 2),
        ("btt", 0),
        ("bttb", 1),
        ("ttb", 1),
        ("btbtb", 3),
        ("btr", 1),
        ("brt", 1),
        ("brtt", 0),
        ("btst", 1),
        ("btstt", 0),
        ("brrb", 2),
        ("bbttbb", 2),
        ("bttbttb", 1),
    ],
)
def test_count_ends_after_two_campaigns_in_a_row_without_a_bounce_for_seven_days(story: str, counted: int) -> None:
    assert len(still_counted(*told(story), NOW)) == counted


@given(stories)
def test_waiting_never_makes_more_count(story: str) -> None:
    campaigns, taken = told(story)

    assert set(still_counted(campaigns, taken, NOW + PROVED)) <= set(still_counted(campaigns, taken, NOW))


@given(stories, stories.filter(lambda later: "b" in later))
@example("brrst", "tb")  # what is taken later is proved before what was taken earlier
@example("rbsrrts", "tsb")  # a row that is broken stays so
def test_what_is_left_out_changes_no_count(story: str, later: str) -> None:
    """Whatever comes after, and however late: what was kept tells the same as all of it."""
    campaigns, taken = told(story + later)
    before = [one for one in campaigns if int(one) < len(story)]
    then = {one: at for one, at in taken.items() if int(one) < len(story)}
    counted = still_counted(before, then, NOW)
    kept = worth_keeping(counted, then)

    after = {one: at for one, at in taken.items() if one not in then}
    new = [one for one in campaigns if one not in before]
    again = still_counted([*counted, *new], {**kept, **after}, NOW)

    assert again == still_counted(campaigns, taken, NOW)


@pytest.mark.parametrize("meanwhile", ["", "s", "ssss", "rsrsrsrsrs", "rrrrrr", "sssssrr"])
def test_count_ends_however_many_came_before(meanwhile: str) -> None:
    """Campaign by campaign, as it is stored."""
    campaigns, taken = ["000"], dict[str, int | None]()
    for number, what in enumerate(meanwhile + "tt", start=1):
        taken = {**worth_keeping(campaigns, taken), f"{number:03}": WHEN[what]}

    assert still_counted(campaigns, worth_keeping(campaigns, taken), NOW + PROVED) == []


@given(st.integers(1, 500))
def test_what_is_kept_does_not_grow_with_the_campaigns(count: int) -> None:
    campaigns, taken = told("b" + "r" * count + "b" + "r" * count)

    assert len(worth_keeping(campaigns, taken)) <= 14  # of each stretch four, the last two, and one between
