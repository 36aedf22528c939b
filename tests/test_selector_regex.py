"""$regex: SQLite and PostgreSQL find what PCRE would, or the pattern is refused."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from mailer.errors import InvalidQuery
from mailer.selector.regex.operator import parse_regex
from tests.databases import KINDS
from tests.drills import rounds
from tests.selector_databases import connect, selected, store

TEXTS = [
    *(
        "",
        "a",
        "A",
        "b",
        "ab",
        "aab",
        "ba",
        "abc",
        "a b",
        "a-b",
        "a.b",
        "a\n",
        "\n",
        "a\nb",
        "b\na",
        "\n\n",
        "_",
        "7",
        "a7",
    ),
    *(
        "é",
        "É",
        "aé",
        "ß",
        "ẞ",
        "ss",
        "k",
        "K",
        "\u212a",
        "s",
        "\u017f",
        "i",
        "I",
        "ı",
        "İ",
        "\u0660",
        "\x0b",
        "\xa0",
        "😀",
    ),
    *(
        "{",
        "}",
        "a{1}",
        "[",
        "]",
        "^",
        "$",
        "\\",
        "|",
        "(",
        "*",
        "#",
        "'",
        '"',
        ":",
        "%",
        "ann@example.com",
        "ANN@Example.COM",
    ),
]


@pytest.fixture(scope="module", params=KINDS)
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    with connect(request.param) as connection:
        store(connection, [{"text": text} for text in TEXTS])
        yield connection


def found(connection: Connection, pattern: str, options: str) -> list[str]:
    query = {"text": {"$regex": pattern, "$options": options}}
    return [TEXTS[number] for number in selected(connection, query)]


@pytest.mark.parametrize(
    ("pattern", "options", "same_in_python"),
    [
        pytest.param("", "", "", id="empty"),
        pytest.param("^a", "", "^a", id="start"),
        pytest.param("a$", "", "a$", id="end or before a last line end"),
        pytest.param("^$", "", "^$", id="nothing but a line end"),
        pytest.param("(?:a|b$)", "", "(?:a|b$)", id="end in a branch"),
        pytest.param(r"\Aa\z", "", r"\Aa\Z", id="very end"),
        pytest.param(r"a\Z", "", "a$", id="big Z"),
        pytest.param("a.b", "", "a.b", id="dot is no line end"),
        pytest.param("a.b", "s", "(?s)a.b", id="dot is anything"),
        pytest.param("A", "i", "[aA]", id="blind to case"),
        pytest.param("(?i)A", "", "[aA]", id="flags in the pattern"),
        pytest.param("^É$", "i", "^[éÉ]$", id="blind to case beyond ASCII"),
        pytest.param("^K$", "i", "^[kK\u212a]$", id="the Kelvin sign is a k"),
        pytest.param("^s$", "i", "^[sS\u017f]$", id="the long s is an s"),
        pytest.param("^ß$", "i", "^[ßẞ]$", id="the sharp s is no double s"),
        pytest.param("^i$", "i", "^[iI]$", id="Turkish letters are their own"),
        pytest.param("^[^A-Z]$", "i", "^[^a-zA-Z\u212a\u017f]$", id="negated set blind to case"),
        pytest.param(r"^[^\W]$", "i", "^[a-zA-Z0-9_]$", id="class in a negated set blind to case"),
        pytest.param(r"^\d$", "", "^[0-9]$", id="digits are ASCII"),
        pytest.param(r"^\w+$", "", "^[A-Za-z0-9_]+$", id="word characters are ASCII"),
        pytest.param(r"^\s$", "", "^[\t-\r ]$", id="white space is ASCII"),
        pytest.param(r"^\S\D\W$", "", r"^[^\t-\r ][^0-9][^A-Za-z0-9_]$", id="complements"),
        pytest.param(r"\ba", "", "(?a)\\ba", id="word boundary"),
        pytest.param(r"a\B", "", "(?a)a\\B(?!$)|a(?=\\w)", id="no word boundary"),
        pytest.param("[]a]", "", "[]a]", id="bracket first in a set"),
        pytest.param("[^]a]", "", "[^]a]", id="bracket first in a negated set"),
        pytest.param("^[a-]+b", "", "^[a-]+b", id="dash last in a set"),
        pytest.param(r"[\[\]\\^-]", "", r"[\[\]\\^-]", id="escapes in a set"),
        pytest.param(r"[\s\S]", "", "(?s).", id="every character"),
        pytest.param("^a{2}b?", "", "^a{2}b?", id="counted"),
        pytest.param("^a{1,}?b+?", "", "^a{1,}?b+?", id="lazy"),
        pytest.param("^(a|b){2}$", "", "^(a|b){2}$", id="group"),
        pytest.param("^(|a)b", "", "^(|a)b", id="empty branch"),
        pytest.param("()a", "", "()a", id="empty group"),
        pytest.param(r"\x61|\x{1F600}", "", "a|😀", id="by number"),
        pytest.param("a b # note", "x", "ab", id="extended"),
        pytest.param(r"\{|\}|\||\(|\*|\#|'|%|:", "", r"\{|\}|\||\(|\*|\#|'|%|:", id="escaped and plain signs"),
        pytest.param("}|]", "", r"\}|\]", id="closing brackets are themselves"),
        pytest.param("@example\\.com$", "i", "(?i)@example\\.com$", id="domain"),
    ],
)
def test_pattern_finds_what_pcre_would(connection: Connection, pattern: str, options: str, same_in_python: str) -> None:
    assert found(connection, pattern, options) == [text for text in TEXTS if re.search(same_in_python, text)]


@pytest.mark.parametrize(
    ("pattern", "options"),
    [
        pytest.param(r"(a)\1", "", id="back reference"),
        pytest.param("a(?=b)", "", id="look ahead"),
        pytest.param("(?<!b)a", "", id="look behind"),
        pytest.param("(?>a)", "", id="atomic group"),
        pytest.param("(?P<x>a)", "", id="named group"),
        pytest.param("a(?i)b", "", id="flags in the middle"),
        pytest.param("(*UCP)a", "", id="verb"),
        pytest.param("a++", "", id="possessive"),
        pytest.param("a**", "", id="repeated repetition"),
        pytest.param("*a", "", id="nothing to repeat"),
        pytest.param("a|*", "", id="nothing to repeat in a branch"),
        pytest.param("(*a)", "", id="nothing to repeat in a group"),
        pytest.param("^*", "", id="repeated assertion"),
        pytest.param("()*", "", id="repeated nothing"),
        pytest.param("a{2,1}", "", id="bounds out of order"),
        pytest.param("a{256}", "", id="more than PostgreSQL repeats"),
        pytest.param("((a{100}){100}){100}", "", id="more than RE2 repeats"),
        pytest.param("a{", "", id="stray brace"),
        pytest.param("(a", "", id="open group"),
        pytest.param("a)", "", id="closed group"),
        pytest.param("[a", "", id="open set"),
        pytest.param("[]", "", id="open empty set"),
        pytest.param("[b-a]", "", id="range out of order"),
        pytest.param(r"[\d-x]", "", id="range from a class"),
        pytest.param(r"[a-\d]", "", id="range to a class"),
        pytest.param("[a-\uffff]", "i", id="range too large to fold"),
        pytest.param("[[:alpha:]]", "", id="class by name"),
        pytest.param(r"[^\s\S]", "", id="empty set"),
        pytest.param(r"\p{L}", "", id="property"),
        pytest.param(r"\Qa\E", "", id="quoted"),
        pytest.param(r"\v", "", id="vertical space"),
        pytest.param(r"\u0061", "", id="JavaScript's escape"),
        pytest.param(r"\é", "", id="escaped letter"),
        pytest.param("a\\", "", id="lone backslash"),
        pytest.param(r"\x00", "", id="NUL"),
        pytest.param(r"\x{d800}", "", id="half a pair"),
        pytest.param("a$b", "", id="after the end"),
        pytest.param("(a$)b", "", id="after a group with the end"),
        pytest.param("(a$)*", "", id="repeated end"),
        pytest.param("^a", "m", id="lines"),
        pytest.param("a", "g", id="unknown option"),
        pytest.param("a" * 1001, "", id="too long"),
        pytest.param(5, "", id="no text"),
        pytest.param("a", 5, id="options no text"),
        pytest.param("a\0", "", id="NUL itself"),
        pytest.param("\ud800", "", id="half a pair itself"),
    ],
)
def test_pattern_that_engines_read_differently_is_refused(pattern: Any, options: Any) -> None:
    with pytest.raises(InvalidQuery, match=r"\$regex|\$options|NUL|surrogate"):
        parse_regex(pattern, options)


pieces = st.recursive(
    st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\n", "é", r"\w", r"\W", " ", "", "-"]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map("|".join),
        st.tuples(inner, st.sampled_from(["", "*", "+?", "?", "{2}", "{0,1}"])).map(lambda p: f"({p[0] or 'a'}){p[1]}"),
    ),
    max_leaves=6,
)


@pytest.mark.drill
@settings(max_examples=rounds(30, 800), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    piece=pieces, frame=st.sampled_from(["{}", "^{}", "^(?:{})$", r"\b(?:{})"]), options=st.sampled_from(["", "i", "s"])
)
def test_any_pattern_finds_what_pcre_would(connection: Connection, piece: str, frame: str, options: str) -> None:
    pattern = frame.format(piece)
    for_python = pattern.replace(r"\b", "(?a:\\b)").replace(r"\w", "[A-Za-z0-9_]").replace(r"\W", "[^A-Za-z0-9_]")
    in_python = re.compile(for_python, sum({"i": re.I, "s": re.S}[option] for option in options))

    # Python folds more than Unicode's simple folding does, in classes
    plain = [text for text in TEXTS if not set(text) & {"\u212a", "\u017f", "ı", "İ"}]
    assert [t for t in found(connection, pattern, options) if t in plain] == [t for t in plain if in_python.search(t)]
