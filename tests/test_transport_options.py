from __future__ import annotations

import pytest

from transports.base import TransportConfigError
from transports.options import Options, shown_options, split_group, split_url


@pytest.mark.parametrize(
    ("url", "scheme", "rest", "query"),
    [
        pytest.param("console:", "console", "", "", id="bare"),
        pytest.param("FILE:./out?format=mbox", "file", "./out", "format=mbox", id="options"),
        pytest.param("smtp://u:p%3F@h:25?a=1", "smtp", "//u:p%3F@h:25", "a=1", id="encoded stays"),
        pytest.param("failover:(a:?x=1 b:)?cooldown=1s", "failover", "(a:?x=1 b:)", "cooldown=1s", id="group"),
        pytest.param("webhook:https://h/p?timeout=1s", "webhook", "https://h/p", "timeout=1s", id="url in url"),
    ],
)
def test_split_url_parts(url: str, scheme: str, rest: str, query: str) -> None:
    parts = split_url(url)

    assert (parts.scheme, parts.rest, parts.query) == (scheme, rest, query)


@pytest.mark.parametrize("url", ["", "hunter2", ":x", "1a:", "failover:(a: b:", "failover:(a:)b", "sécret:"])
def test_split_url_malformed(url: str) -> None:
    with pytest.raises(TransportConfigError) as caught:
        split_url(url)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("group", "urls"),
    [
        pytest.param("(a: b:)", ("a:", "b:"), id="two"),
        pytest.param("()", (), id="none"),
        pytest.param("( a: \n b:?x=y )", ("a:", "b:?x=y"), id="white space"),
        pytest.param("(x:(a: b:)?t=1 c:)", ("x:(a: b:)?t=1", "c:"), id="nested"),
        pytest.param("(x:(y:(a: b:) c:) d:)", ("x:(y:(a: b:) c:)", "d:"), id="twice nested"),
    ],
)
def test_split_group(group: str, urls: tuple[str, ...]) -> None:
    assert split_group("x", group) == urls


@pytest.mark.parametrize("rest", ["", "a: b:", "(a:)(b:)", "(a:) "])
def test_split_group_malformed(rest: str) -> None:
    with pytest.raises(TransportConfigError, match=r"failover:\(smtp"):
        split_group("failover", rest)


OPTIONS = {
    "text": lambda o: o.text("v"),
    "choice": lambda o: o.choice("v", ("eml", "mbox"), "eml"),
    "flag": lambda o: o.flag("v", False),
    "integer": lambda o: o.integer("v", 3, 1, 64),
    "duration": lambda o: o.duration("v", 30.0, maximum=7200.0),
}


@pytest.mark.parametrize(
    ("kind", "query", "value"),
    [
        ("text", "v=a%20b+c", "a b+c"),
        ("text", "", ""),
        ("choice", "v=MBOX", "mbox"),
        ("choice", "", "eml"),
        ("flag", "v=on", True),
        ("flag", "v=No", False),
        ("flag", "", False),
        ("integer", "v=64", 64),
        ("integer", "", 3),
        ("duration", "v=500ms", 0.5),
        ("duration", "v=2h", 7200.0),
        ("duration", "v=1.5", 1.5),
        ("duration", "", 30.0),
    ],
)
def test_option_value(kind: str, query: str, value: object) -> None:
    assert OPTIONS[kind](Options("x", query, ("v",))) == value


@pytest.mark.parametrize(
    ("kind", "query"),
    [
        ("choice", "v=pst"),
        ("flag", "v=maybe"),
        ("integer", "v=0"),
        ("integer", "v=65"),
        ("integer", "v=-1"),
        ("integer", "v=٣"),
        ("duration", "v=soon"),
        ("duration", "v=0s"),
        ("duration", "v=3h"),
        ("duration", "v=1e9"),
    ],
)
def test_option_out_of_range(kind: str, query: str) -> None:
    with pytest.raises(TransportConfigError, match=r"option 'v' is .* expected"):
        OPTIONS[kind](Options("x", query, ("v",)))


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("w=1", "unknown option 'w'; known options: u, v"),
        ("password=hunter2", "unknown option 'password'; known options: u, v"),
        ("v=1&v=2", "'v' needs exactly one value"),
        ("v", "'v' needs exactly one value"),
        ("v=", "'v' needs exactly one value"),
    ],
)
def test_options_refused(query: str, problem: str) -> None:
    with pytest.raises(TransportConfigError, match=problem) as caught:
        Options("x", query, ("v", "u"))

    assert "hunter2" not in str(caught.value)


def test_rest_of_a_password_is_not_taken_for_an_option_and_shown() -> None:
    parts = split_url("smtp://ann:hun?ter2@mail.example.com:587")
    with pytest.raises(TransportConfigError) as refused:
        Options(parts.scheme, parts.query, ("rate",))
    assert "ter2" not in str(refused.value)
    assert "%3F" in str(refused.value)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", ""),
        ("batch=5", "?batch=5"),
        ("batch=5&token=hunter2", "?batch=5&token=***"),
        ("hunter", ""),
        ("hunter2=1&batch=5", "?batch=5"),
        ("batch=5&&=x", "?batch=5"),
    ],
)
def test_only_options_that_are_no_secret_are_shown(query: str, shown: str) -> None:
    assert shown_options(query, ("batch",)) == shown


@pytest.mark.parametrize("query", ["hunter2", "hunter2=1", "hunter", "a@hunter2", "%68unter2"])
def test_what_may_be_a_secret_is_not_named_as_an_option(query: str) -> None:
    with pytest.raises(TransportConfigError, match=r"%3F.*; known options: batch") as caught:
        Options("x", query, ("batch",))

    assert "hunter" not in str(caught.value)
