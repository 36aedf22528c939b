from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.settings.send_window import DAYS, SendWindow

MINUTE = 60_000
ZONES = ["Europe/Vienna", "UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut", "America/St_Johns"]
# days on and around which clocks are changed somewhere, by half an hour on Lord Howe, and at midnight in Beirut
STARTS = ["2026-03-28", "2026-10-24", "2026-03-07", "2026-10-31", "2026-04-04", "2026-10-03", "2026-06-10"]


def at(text: str, zone: str = "Europe/Vienna", fold: int = 0) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp() * 1000)


def times() -> st.SearchStrategy[str]:
    return st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 15, 30, 45, 59]))


@st.composite
def windows(draw: st.DrawFn) -> str:
    days = draw(st.sampled_from(["", "Mon ", "Sat-Mon ", "Sun ", "mon-fri "]))
    start = draw(times())
    end = draw(st.one_of(times(), st.just("24:00")).filter(lambda end: end != start))
    return f"{days}{start}-{end}"


def shown_in(window: str, wall: datetime) -> bool:
    """What the words say, day by day: the window of this weekday, or that of the day before which goes on."""
    *days, hours = window.split(" ")
    start, end = hours.split("-")
    first, _, last = (days[0].lower() if days else "mon-sun").partition("-")
    begins, ends = DAYS.index(first), DAYS.index(last or first)
    on = [(begins + number) % 7 for number in range((ends - begins) % 7 + 1)]
    time, today, yesterday = wall.strftime("%H:%M"), wall.weekday(), (wall.weekday() - 1) % 7
    if start < end:
        return today in on and start <= time < end
    return (today in on and time >= start) or (yesterday in on and time < end)


@given(
    wanted=st.lists(windows(), min_size=1, max_size=3),
    zone=st.sampled_from(ZONES),
    start=st.sampled_from(STARTS),
    minutes=st.integers(0, 3 * 24 * 60),
)
def test_window_is_open_while_the_wall_clock_shows_its_hours(
    wanted: list[str], zone: str, start: str, minutes: int
) -> None:
    window = SendWindow.parse(f"{', '.join(wanted)} {zone}")
    now = at(start, "UTC") + minutes * MINUTE
    wall = datetime.fromtimestamp(now / 1000, ZoneInfo(zone))

    assert window.is_open(now) == any(shown_in(each, wall) for each in wanted)


@settings(max_examples=40)  # each looks at two days, minute by minute
@given(
    wanted=st.lists(windows(), min_size=1, max_size=2),
    zone=st.sampled_from(ZONES),
    start=st.sampled_from(STARTS),
    minutes=st.integers(0, 2 * 24 * 60),
)
def test_next_change_is_the_first_minute_that_differs(wanted: list[str], zone: str, start: str, minutes: int) -> None:
    window = SendWindow.parse(f"{', '.join(wanted)} {zone}")
    now = at(start, "UTC") + minutes * MINUTE
    before, change = window.is_open(now), window.next_change(now)

    last = min(change or now + 8 * 24 * 60 * MINUTE, now + 2 * 24 * 60 * MINUTE)
    assert all(window.is_open(minute) == before for minute in range(now, last, MINUTE))
    assert change is None or (change > now and window.is_open(change) != before)
    if change is None:
        assert all(window.is_open(now + hour * 60 * MINUTE) == before for hour in range(8 * 24))


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ("2026-03-28T12:00", "open until 2026-03-28 20:00 Europe/Vienna"),
        ("2026-03-28T20:00", "closed until 2026-03-29 08:00 Europe/Vienna"),  # a night of eleven hours
        ("2026-10-25T07:59", "closed until 2026-10-25 08:00 Europe/Vienna"),
    ],
)
def test_window_is_told_in_its_zone(now: str, words: str) -> None:
    assert SendWindow.parse("08:00-20:00 Europe/Vienna").in_words(at(now)) == words


def test_change_to_summer_time_shortens_the_night() -> None:
    window = SendWindow.parse("08:00-20:00 Europe/Vienna")
    closes = at("2026-03-28T20:00")

    assert window.next_change(closes) == closes + 11 * 60 * MINUTE
    assert datetime.fromtimestamp(window.next_change(closes) / 1000, UTC).hour == 6


def test_window_that_begins_in_the_hour_that_is_left_out_opens_after_it() -> None:
    window = SendWindow.parse("02:30-03:30 Europe/Vienna")

    assert window.in_words(at("2026-03-29T01:00")) == "closed until 2026-03-29 03:00 Europe/Vienna"


def test_hour_that_comes_twice_counts_twice() -> None:
    window = SendWindow.parse("02:00-02:30 Europe/Vienna")

    assert [window.is_open(at("2026-10-25T02:10", fold=fold)) for fold in (0, 1)] == [True, True]
    assert not window.is_open(at("2026-10-25T02:40"))


def test_window_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    window = SendWindow.parse("Fri 22:00-06:00 Europe/Vienna")

    assert window.in_words(at("2026-06-12T23:00")) == "open until 2026-06-13 06:00 Europe/Vienna"
    assert window.in_words(at("2026-06-12T05:00")) == "closed until 2026-06-12 22:00 Europe/Vienna"


def test_window_that_never_closes_has_no_change() -> None:
    assert SendWindow.parse("00:00-24:00 UTC").in_words(at("2026-06-12T05:00")) == "open"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("08:00-20:00", "No time zone"),
        ("08:00-20:00 Vienna", "No time zone such as Europe/Vienna at the end: 'Vienna'"),
        ("Europe/Vienna", "Not hours"),
        ("8-20 Europe/Vienna", "Not hours"),
        ("08:00-08:00 UTC", "Not hours"),
        ("24:00-08:00 UTC", "Not hours"),
        ("08:00-24:30 UTC", "Not hours"),
        ("08:60-09:00 UTC", "Not hours"),
        ("08:00-20:00, UTC", "Not hours"),
        ("Mon,Tue 08:00-20:00 UTC", "Not hours"),
        ("Die-Fre 08:00-20:00 UTC", "Not days"),
    ],
)
def test_nonsense_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        SendWindow.parse(text)


@pytest.mark.parametrize(
    ("text", "now", "opened"),
    [
        ("08:00-20:00 UTC", "2026-06-01 09:30", "2026-06-01 08:00"),
        ("08:00-20:00 UTC", "2026-06-01 08:00", "2026-06-01 08:00"),
        ("20:00-06:00 UTC", "2026-06-02 05:00", "2026-06-01 20:00"),
        ("08:00-12:00, 12:00-20:00 UTC", "2026-06-01 13:00", "2026-06-01 08:00"),
        ("00:00-24:00 UTC", "2026-06-01 13:00", None),
    ],
    ids=["since the morning", "this moment", "over midnight", "through two windows", "always"],
)
def test_window_tells_when_it_opened(text: str, now: str, opened: str | None) -> None:
    moment, expected = (int(datetime.fromisoformat(f"{each}Z").timestamp() * 1000) for each in (now, opened or now))
    assert SendWindow.parse(text).opened_at(moment) == (expected if opened else 0)
