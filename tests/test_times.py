"""Times as ISO 8601 and back."""

import pytest

from mailer.times import from_iso, to_iso

TIMES = {
    "1970": (0, "1970-01-01T00:00:00.000Z"),
    "a millisecond": (1_420_070_400_001, "2015-01-01T00:00:00.001Z"),
    "before 1970": (-1, "1969-12-31T23:59:59.999Z"),
    "the first year": (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
    "the last year": (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
}


@pytest.mark.parametrize(("milliseconds", "text"), TIMES.values(), ids=TIMES)
def test_time_is_written_and_read_back(milliseconds: int, text: str) -> None:
    assert to_iso(milliseconds) == text
    assert from_iso(text) == milliseconds


def test_precision_of_seconds_cuts_the_rest() -> None:
    assert to_iso(1_999, precision="seconds") == "1970-01-01T00:00:01Z"
    assert to_iso(-1, precision="seconds") == "1969-12-31T23:59:59Z"


@pytest.mark.parametrize(
    "text", ["1970-01-01", "1970-01-01T00:00", "1970-01-01T02:00+02:00", "1970-01-01T00:00:00.0009Z"]
)
def test_offset_is_utc_unless_named_and_finer_parts_are_cut(text: str) -> None:
    assert from_iso(text) == 0


def test_other_text_is_no_time() -> None:
    with pytest.raises(ValueError, match="isoformat"):
        from_iso("yesterday")
