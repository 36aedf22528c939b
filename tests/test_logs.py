"""What is logged: as JSON or for people, with the ids that a line is about, and never an address, token or link."""

from __future__ import annotations

import base64
import gc
import io
import json
import logging
import os
import secrets
import string
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError
from structlog.contextvars import clear_contextvars, get_contextvars, unbind_contextvars

from mailer.api.requests.request_ids import RequestIds
from mailer.engines.worker import Worker
from mailer.logs.access import FACTS, access_fields, is_quiet
from mailer.logs.configuration import ServiceHandler, adopt, configure
from mailer.logs.context import bound, request_id
from mailer.logs.masking import ADDRESS, TOKEN, masked, masked_value, without_addresses
from mailer.messages.links import Links
from mailer.observer import UNOBSERVED

FORMS = ("console", "json")


class Lines(io.StringIO):
    """What was logged."""

    def parsed(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@contextmanager
def configured(form: str, level: str = "info") -> Iterator[Lines]:
    """Logging as in a program of the service; afterwards as it was."""
    root, lines = logging.getLogger(), Lines()
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    before, levels = root.level, {name: logging.getLogger(name).level for name in ("mailer", "transports", "gunicorn")}
    others = list(root.handlers)
    root.handlers.clear()
    configure(form, level)
    (handler,) = root.handlers
    assert isinstance(handler, ServiceHandler)
    handler.setStream(lines)
    try:
        yield lines
    finally:
        root.handlers[:] = others
        root.setLevel(before)
        for name, earlier in levels.items():
            logging.getLogger(name).setLevel(earlier)
        for name in ("app", "alembic"):
            logging.getLogger(name).setLevel(logging.NOTSET)
        logging.captureWarnings(capture=False)
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        structlog.reset_defaults()


# --- the net ----------------------------------------------------------------------------------------------------------

LETTERS = string.ascii_letters + string.digits
LOCAL = st.text(LETTERS + "!#$&'*+-/=?^_`{|}~.ü", min_size=1, max_size=20)
DOMAIN = st.text(LETTERS + "-.ü", min_size=1, max_size=20)
TOKENS = st.binary(min_size=32, max_size=48).map(lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=").decode())
AROUND = st.text(max_size=40)
AT = st.sampled_from(["@", "%40", "%2540", "&#64;", "&#x40;", "\\u0040", "＠"])
LINKS = Links(["k" * 40], "https://mail.example.com/post")


@settings(deadline=None)
@given(local=LOCAL, at=AT, domain=DOMAIN, before=AROUND, after=AROUND)
@example(local="ada", at="@", domain="example.org", before='to "', after='"')
def test_no_address_gets_through(local: str, at: str, domain: str, before: str, after: str) -> None:
    left = masked(f"{before}{local}{at}{domain}{after}")
    assert at not in left
    assert f"{local}{at}" not in left
    assert ADDRESS in left


@settings(deadline=None)
@given(local=st.text(LETTERS + ' "\\@', max_size=20), domain=DOMAIN)
def test_no_quoted_address_gets_through(local: str, domain: str) -> None:
    assert "@" not in masked(f'"{local}"@{domain}')


def test_quoted_local_part_with_blanks_is_masked_whole() -> None:
    assert masked('to <"ada king"@example.org>: no') == f"to {ADDRESS} no"


@settings(deadline=None)
@given(token=TOKENS, before=AROUND, after=AROUND)
def test_no_token_gets_through(token: str, before: str, after: str) -> None:
    assert token not in masked(before + token + after)


@settings(deadline=None)
@given(token=st.text(string.ascii_letters + string.digits + "_-", min_size=32).filter(lambda one: not one.islower()))
def test_nothing_gets_through_that_could_be_a_token(token: str) -> None:
    assert token not in masked(f"x {token} y")


@settings(deadline=None)
@given(user_id=st.text(min_size=1, max_size=60), before=AROUND, after=AROUND)
@example(user_id="a", before="", after="")
def test_no_unsubscribe_link_gets_through(user_id: str, before: str, after: str) -> None:
    link = LINKS.link(user_id)
    left = masked(f"{before} {link} {after}")
    payload, _, signature = link.rpartition("/")[2].partition(".")
    assert signature not in left
    assert f"/{payload}" not in left


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("X-Auth-Token: abc", f"X-Auth-Token: {TOKEN}"),
        ("{'X-Auth-Token': 'abc', 'a': 1}", f"{{'X-Auth-Token': '{TOKEN}', 'a': 1}}"),
        ("Authorization: Bearer abc", f"Authorization: Bearer {TOKEN}"),
        ("GET /x?token=abc&count=3", f"GET /x?token={TOKEN}&count=3"),
        ('{"password": "abc"}', f'{{"password": "{TOKEN}"}}'),
        ("redis://:pw@host/0 is away", f"{ADDRESS} is away"),
        ("/mailer/unsubscribe/x y", f"/mailer/unsubscribe/{TOKEN} y"),
    ],
)
def test_secret_is_found_by_what_stands_before_it(said: str, left: str) -> None:
    assert masked(said) == left


@pytest.mark.parametrize(
    "said",
    [
        "campaign 0193abcdef0a1b2c3d4e5f6 batch 7: lease lost, left to another worker",
        "MAILER_WORKSPACE_TOKEN: the value: Not what a header can hold.",
        "connect to mail.example.com:587: timed out",
        'File "/srv/mailer/mailer/workspace/sync.py", line 12, in a_function_whose_name_goes_on_and_on_and_on',
        "550 5.1.1 no such user (in reply to RCPT TO command)",
    ],
)
def test_what_is_needed_to_find_the_cause_is_left(said: str) -> None:
    assert masked(said) == said


@pytest.mark.parametrize("text", ["a" * 400_000, '"' * 400_000, "a." * 200_000, "a@" * 200_000])
def test_masking_takes_time_in_proportion(text: str) -> None:
    began = time.process_time()
    masked(text[:40_000])
    short = time.process_time() - began
    began = time.process_time()
    masked(text)
    assert time.process_time() - began < 60 * short + 1  # a square would be a hundred times as long


def test_values_are_masked_however_deep() -> None:
    value = {"ada@example.org": [("x", b"eve@example.org"), {"n": 5, "t": True, "none": None}]}
    assert masked_value(value) == {ADDRESS: [["x", ADDRESS], {"n": 5, "t": True, "none": None}]}


def test_masking_twice_changes_nothing_more() -> None:
    once = masked(f"to ada@example.org with {secrets.token_urlsafe(32)} at {LINKS.link('u1')}")
    assert masked(once) == once
    assert without_addresses(once) == once


# --- the lines --------------------------------------------------------------------------------------------------------


def test_json_line_has_what_it_is_about() -> None:
    log = logging.getLogger("mailer.test")
    with configured("json") as lines:
        with bound(campaign="c1", batch=4):
            log.warning("lease %s", "lost")
        log.info("after")
    first, second = lines.parsed()
    assert (first["level"], first["logger"], first["event"]) == ("warning", "mailer.test", "lease lost")
    assert (first["campaign"], first["batch"]) == ("c1", 4)
    host, pid, thread = first["worker"].split(":")
    assert host
    assert (pid, thread) == (str(os.getpid()), "MainThread")
    assert "campaign" not in second
    assert first["timestamp"].endswith("Z")


@pytest.mark.parametrize("error", [OperationalError("x", None, Exception("no disk")), RuntimeError("odd")], ids=repr)
def test_error_is_logged_with_the_batch_that_it_came_from(error: Exception) -> None:
    """The database may fail for one campaign alone, and somebody has to find out which."""

    class Deliverer:
        def run_next(self, *_asked: object) -> bool:
            with bound(campaign="c1", batch=4):
                raise error

    parts = SimpleNamespace(
        deliverer=Deliverer(), planner=SimpleNamespace(plan_next=lambda: False), observer=UNOBSERVED
    )
    parts.settings, parts.announced = SimpleNamespace(lease_seconds=60), bool
    looks = iter([False, True])
    with configured("json") as lines:
        Worker(parts).run_for(60, lambda: next(looks, True))  # type: ignore[arg-type]
        logging.getLogger("mailer.test").info("after")
    *told, after = lines.parsed()
    assert told
    assert all((one["campaign"], one["batch"]) == ("c1", 4) for one in told)
    assert "campaign" not in after


def test_threads_do_not_share_what_a_line_is_about() -> None:
    log = logging.getLogger("mailer.test")
    with configured("json") as lines, bound(campaign="c1"):
        thread = threading.Thread(target=log.warning, args=("other",), name="delivery-3")
        thread.start()
        thread.join()
    (line,) = lines.parsed()
    assert "campaign" not in line
    assert line["worker"].endswith(":delivery-3")


def test_console_line_is_one_line_and_a_traceback_follows() -> None:
    log = logging.getLogger("mailer.test")
    clear_contextvars()  # a request of an earlier test may not have been read to its end
    with configured("console") as lines, bound(campaign="c1"):
        log.warning("one\ntwo \x1b[31m")
        try:
            raise ValueError("no")
        except ValueError:
            log.exception("oh")
    first, second, *rest = lines.getvalue().splitlines()
    assert " WARNING mailer.test: one two  [31m campaign=c1 worker=" in first
    assert " ERROR mailer.test: oh campaign=c1 worker=" in second
    assert (rest[0], rest[-1]) == ("Traceback (most recent call last):", "ValueError: no")
    assert "\x1b" not in lines.getvalue()


@pytest.mark.parametrize("as_text", [False, True], ids=["by logging", "as text"])
def test_traceback_is_one_field(as_text: bool) -> None:
    log = logging.getLogger("mailer.test")
    with configured("json") as lines:
        try:
            raise ValueError("to ada@example.org")
        except ValueError:
            log.error("%s", traceback.format_exc()) if as_text else log.exception("oh")
    (line,) = lines.parsed()
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith(f"ValueError: to {ADDRESS}")
    assert line["event"] == (f"ValueError: to {ADDRESS}" if as_text else "oh")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "where", ["message", "argument", "field", "exception", "bound", "thread", "warning", "unlogged"]
)
def test_nothing_gets_through_wherever_it_stands(form: str, where: str) -> None:
    token = secrets.token_urlsafe(32)
    said = f"ada@example.org {token} {LINKS.link('u1')}"
    log = logging.getLogger("mailer.test")
    with configured(form) as lines:
        if where == "message":
            log.error(said)
        elif where == "argument":
            log.error("to %s", said)
        elif where == "field":
            structlog.get_logger("mailer.test").error("x", to=said, more={said: [said]})
        elif where == "exception":
            try:
                raise ValueError(said)
            except ValueError:
                log.exception("x")
        elif where == "bound":
            with bound(campaign=said):
                log.error("x")
        elif where == "thread":
            thread = threading.Thread(target=lambda: int(said))
            thread.start()
            thread.join()
        elif where == "warning":
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                warnings.warn(said, stacklevel=1)
        else:
            log.error("%d", said)
    text = lines.getvalue()
    assert text
    assert "ada@" not in text
    assert token not in text
    assert LINKS.link("u1").rpartition("/")[2] not in text


@settings(deadline=None)
@given(message=st.text(), fields=st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.none()))
def test_every_line_is_json(message: str, fields: dict[str, Any]) -> None:
    own = {"event", "level", "logger", "worker", "timestamp", "exception", "exc_info", "stack_info", "positional_args"}
    more = {name: value for name, value in fields.items() if name not in own}
    with configured("json") as lines:
        structlog.get_logger("mailer.test").error(message, **more)
        logging.getLogger("mailer.test").error("%s", message)
    assert len(lines.parsed()) == 2


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ("debug", ["d", "i", "w", "e", "ti", "tw", "te"]),
        ("info", ["i", "w", "e", "ti", "tw", "te"]),
        ("warning", ["w", "e", "tw", "te"]),
        ("error", ["e", "te"]),
    ],
)
def test_level_holds_and_third_parties_never_tell_details(level: str, said: list[str]) -> None:
    with configured("json", level) as lines:
        for before, name in (("", "mailer.test"), ("t", "urllib3.connectionpool")):
            for letter, grade in (("d", 10), ("i", 20), ("w", 30), ("e", 40)):
                logging.getLogger(name).log(grade, before + letter)
    assert [line["event"] for line in lines.parsed()] == said


def test_setting_up_again_does_not_double_the_lines() -> None:
    with configured("console") as lines:
        configure("json", "info")
        (handler,) = logging.getLogger().handlers
        assert isinstance(handler, ServiceHandler)
        handler.setStream(lines)
        logging.getLogger("mailer.test").error("once")
    assert len(lines.parsed()) == 1


def test_library_that_set_itself_up_writes_as_all_others() -> None:
    library = logging.getLogger("a_library")
    library.propagate = False
    library.addHandler(logging.StreamHandler(io.StringIO()))
    with configured("json") as lines:
        adopt("a_library")
        library.error("to ada@example.org")
    assert [line["event"] for line in lines.parsed()] == [f"to {ADDRESS}"]


@pytest.mark.slow
def test_importing_the_service_sets_nothing_up() -> None:
    shown = "logging.getLogger().handlers, sys.excepthook, 'structlog' in sys.modules"
    code = f"import logging, sys, app, mailer.cli; print({shown})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] <built-in function excepthook> False"  # structlog is slow to import


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["a", "0193abc", "f" * 32, "123e4567-e89b-12d3-a456-426614174000"])
def test_sane_request_id_is_kept(given: str) -> None:
    assert request_id(given) == given


@settings(deadline=None)
@given(st.text() | TOKENS | st.emails())
@example("-a")
@example("a\n")
@example("é")
def test_any_other_is_replaced_by_a_new_one(given: str) -> None:
    found = request_id(given)
    assert 1 <= len(found) <= 36
    assert masked(f" {found} ") == f" {found} " or found == given
    assert found.isascii()
    assert found != given or len(given) <= 36


PATHS = st.tuples(st.text(max_size=20), st.emails() | TOKENS).map(lambda both: f"/{both[0]}/{both[1]}")


@settings(deadline=None)
@given(path=PATHS, query=st.text(max_size=50), secret=TOKENS)
def test_access_line_has_no_address_token_or_value(path: str, query: str, secret: str) -> None:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": f"after={secret}&to=ada@example.org&{query}"}
    shown = str(access_fields(environ, "404 Not Found", 12, 0.0123))
    assert secret not in shown
    assert path.rpartition("/")[2] not in shown
    assert "@" not in shown
    assert access_fields(environ, 404, None, 0.0123)["ms"] == 12


def test_access_line_names_the_route_and_who_called() -> None:
    facts = {"route": "/api/v1/users/<user_id>", "request": "r1", "caller": "root", "campaign": ""}
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/api/v1/users/ada", "QUERY_STRING": "a=1&b&=2&3=4", FACTS: facts}
    shown = access_fields(environ, "200 OK", 12, 1.0)
    assert shown == {
        **{"method": "GET", "route": "/api/v1/users/<user_id>", "parameters": "a,b,…,…"},
        **{"status": 200, "bytes": 12, "ms": 1000, "request": "r1", "caller": "root"},
    }


def test_machines_that_ask_every_few_seconds_are_quiet() -> None:
    assert is_quiet({"PATH_INFO": "/healthz"})
    assert not is_quiet({"PATH_INFO": "/api/v1/mailer"})


def test_answer_that_nobody_closes_ends_nothing_when_it_is_collected() -> None:
    """What the collector ended, it might end while a context variable is being set, which crashed the interpreter."""
    answer = RequestIds(lambda _environ, _start: [b"whole"])({}, None)
    mine = get_contextvars()["request"]
    with bound(campaign="c"):
        del answer
        gc.collect()
        assert get_contextvars() == {"request": mine, "campaign": "c"}
    unbind_contextvars("request")


def test_answer_that_is_closed_has_its_id_until_then() -> None:
    answer: Any = RequestIds(lambda _environ, _start: [b"whole"])({"HTTP_X_REQUEST_ID": "mine"}, None)
    assert get_contextvars() == {"request": "mine"}
    answer.close()
    assert get_contextvars() == {}
