"""What the network may say, over a real gunicorn: strangers' headers, bodies that end badly, silence, and paths."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from mailer.api.requests.paths import routed
from mailer.storage.models import User
from tests.conftest import user_row
from tests.service import PAYLOAD, Service

pytestmark = pytest.mark.slow

JSON = "Content-Type: application/json"
GOOD = json.dumps(PAYLOAD).encode()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    made = Service(tmp_path_factory.mktemp("network"), transport="memory:", rate_limit="")
    with made.db.write() as connection:
        connection.execute(User.__table__.insert(), [user_row(n) for n in range(2)])
    with made:
        yield made


@pytest.fixture
def headers(service: Service) -> dict[str, str]:
    return service.headers("user00000", "send-mail", "manage-users")


def speak(service: Service, raw: bytes, *, end: bool = False) -> tuple[int, str]:
    """Send `raw`, with `end` nothing after it; the first status of the answer, and all of it."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as line:
        line.sendall(raw)
        if end:
            line.shutdown(socket.SHUT_WR)
        answer = b""
        while b"\r\n\r\n" not in answer and (piece := line.recv(65536)):
            answer += piece
        line.settimeout(0.5)
        try:
            while piece := line.recv(65536):
                answer += piece
        except TimeoutError:
            pass
    found = re.match(rb"HTTP/1.1 (\d+)", answer)
    assert found, answer
    return int(found[1]), answer.decode()


def request(method: str, path: str, headers: dict[str, str], *more: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items()), *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


FORGED = {
    "script name": ("/mailer/unsubscribe/api/v1/mailer/campaigns", "SCRIPT_NAME: /mailer/unsubscribe"),
    "script name with a hyphen": ("/mailer/unsubscribe/readyz", "Script-Name: /mailer/unsubscribe"),
    "path info": ("/mailer/unsubscribe/x", "PATH_INFO: /readyz"),
    "path info with a hyphen": ("/mailer/unsubscribe/x", "Path-Info: /readyz"),
    "prefix": ("/mailer/unsubscribe/readyz", "X-Forwarded-Prefix: /mailer/unsubscribe"),
    "original url": ("/mailer/unsubscribe/x", "X-Original-URL: /readyz"),
    "rewrite url": ("/mailer/unsubscribe/x", "X-Rewrite-URL: /readyz"),
}


@pytest.mark.parametrize(("path", "header"), FORGED.values(), ids=FORGED)
def test_no_header_changes_the_path(service: Service, headers: dict[str, str], path: str, header: str) -> None:
    status, answer = speak(service, request("GET", path, headers, header))
    assert status == 404
    assert "campaigns" not in answer
    assert "database" not in answer


@pytest.mark.parametrize("name", ["Host", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded"])
def test_no_header_changes_the_address_that_is_told(service: Service, headers: dict[str, str], name: str) -> None:
    answer = requests.post(
        f"{service.url}/api/v1/mailer", data=GOOD, headers={**headers, "Content-Type": "application/json", name: "evil"}
    )
    assert answer.headers["Location"].startswith("/api/v1/mailer/campaigns/")


def failures(service: Service, sources: list[str]) -> list[int]:
    return [service.get("/api/v1/me", {"X-Forwarded-For": source}).status_code for source in sources]


def test_failed_logins_behind_a_trusted_proxy_count_for_the_client(tmp_path: Path) -> None:
    with Service(tmp_path, transport="memory:", rate_limit="2/minute", trusted_proxies="127.0.0.1") as service:
        assert failures(service, ["9.9.9.1", "9.9.9.1", "9.9.9.1", "9.9.9.2", "8.8.8.8, 9.9.9.1"]) == [
            401,
            401,
            429,
            401,
            429,
        ]


def test_failed_logins_count_for_the_peer_where_no_proxy_is_trusted(tmp_path: Path) -> None:
    with Service(tmp_path, transport="memory:", rate_limit="2/minute") as service:
        assert failures(service, ["9.9.9.1", "9.9.9.2", "9.9.9.3"]) == [401, 401, 429]


CHUNKS = {
    "no number": b"zz\r\nabc\r\n0\r\n\r\n",
    "negative": b"-1\r\nabc\r\n0\r\n\r\n",
    "no terminator": b"3\r\nabcXX0\r\n\r\n",
    "empty size": b"\r\n\r\n",
    "ends within a chunk": b"ff\r\n{",
    "ends between chunks": b"1\r\n{\r\n",
    "endless size line": b"1" * 20_000,
    "bad extension": b"1;\r;=\r\n{\r\n0\r\n\r\n",
    "bad trailer": b"1\r\n{\r\n0\r\nno colon\r\n\r\n",
}
TAKING = {
    "send": ("POST", "/api/v1/mailer", JSON),
    "send by form": ("POST", "/api/v1/mailer", "Content-Type: application/x-www-form-urlencoded"),
    "send by multipart": ("POST", "/api/v1/mailer", "Content-Type: multipart/form-data; boundary=b"),
    "unsubscribe": ("POST", "/api/v1/mailer.unsubscribe", JSON),
    "audience": ("POST", "/api/v1/mailer/audience", JSON),
    "preview": ("POST", "/api/v1/mailer/preview", JSON),
    "put": ("PUT", "/api/v1/mailer/users/x", JSON),
    "patch": ("PATCH", "/api/v1/mailer/users/user00001", JSON),
    "delete": ("DELETE", "/api/v1/mailer/users/nobody", JSON),
    "import of users": ("POST", "/api/v1/mailer/users:import", "Content-Type: application/x-ndjson"),
    "import of unsubscribes": ("POST", "/api/v1/mailer/unsubscribes:import", "Content-Type: text/csv"),
    "lift": ("POST", "/api/v1/mailer/suppressed-addresses:lift", JSON),
    "pause": ("POST", "/api/v1/mailer/campaigns/none/pause", JSON),
    "list": ("GET", "/api/v1/mailer/campaigns", JSON),
    "login": ("POST", "/api/v1/login", JSON),
    "logout": ("POST", "/api/v1/logout", JSON),
}


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize(("method", "path", "kind"), TAKING.values(), ids=TAKING)
def test_malformed_chunked_body_is_400(
    service: Service, headers: dict[str, str], method: str, path: str, kind: str, chunks: bytes
) -> None:
    head = request(method, path, headers, "Transfer-Encoding: chunked", kind)
    status, answer = speak(service, head + chunks, end=True)
    assert status == 400, answer
    assert '"success":false' in answer.replace(" ", "")


@pytest.mark.parametrize("path", ["/mailer/unsubscribe/x", "/healthz", "/readyz", "/docs/", "/nowhere"])
@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
def test_malformed_chunked_body_is_never_500(service: Service, path: str, chunks: bytes) -> None:
    for method in ("GET", "POST"):
        status, _ = speak(service, request(method, path, {}, "Transfer-Encoding: chunked") + chunks, end=True)
        assert status < 500


@pytest.mark.parametrize(("method", "path", "kind"), TAKING.values(), ids=TAKING)
def test_body_that_is_cut_short_is_400(
    service: Service, headers: dict[str, str], method: str, path: str, kind: str
) -> None:
    status, answer = speak(service, request(method, path, headers, "Content-Length: 500", kind) + b"{}", end=True)
    assert (status, "cut short" in answer) == (400, True)


@pytest.mark.parametrize("length", ["abc", "-1", "+5", "5, 6", "1e3", "0x10", "5\r\nContent-Length: 6"])
def test_length_that_is_none_is_400(service: Service, headers: dict[str, str], length: str) -> None:
    raw = request("POST", "/api/v1/mailer", headers, f"Content-Length: {length}", JSON)
    assert speak(service, raw + GOOD, end=True)[0] == 400


@pytest.mark.parametrize(
    ("coding", "data"),
    [("gzip", b"\x1f\x8bnonsense"), ("gzip", GOOD), ("deflate", GOOD), ("br", GOOD), ("identity, gzip", GOOD)],
)
def test_encoded_body_is_refused_and_named(service: Service, headers: dict[str, str], coding: str, data: bytes) -> None:
    more = {"Content-Type": "application/json", "Content-Encoding": coding}
    answer = requests.post(f"{service.url}/api/v1/mailer", data=data, headers={**headers, **more}, timeout=10)
    assert (answer.status_code, answer.json()["details"]["field"]) == (400, "Content-Encoding")


UNREADABLE = {
    "nul": (b'{"from": "a\0b"}', "body"),
    "nul in a name": (b'{"a\\u0000b": 1}', "a\0b"),
    "invalid utf-8": (b'{"from": "\xc3\x28"}', "body"),
    "overlong utf-8": (b'{"from": "\xc0\xaf"}', "body"),
    "utf-16": ('{"from": "x"}'.encode("utf-16"), "body"),
}


@pytest.mark.parametrize(("data", "field"), UNREADABLE.values(), ids=UNREADABLE)
def test_body_that_is_no_text_is_400(service: Service, headers: dict[str, str], data: bytes, field: str) -> None:
    more = {"Content-Type": "application/json"}
    answer = requests.post(f"{service.url}/api/v1/mailer", data=data, headers={**headers, **more}, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["errorType"] == "invalid-params"
    assert field in (answer.json()["details"]["field"], *answer.json()["details"].get("fields", {}))


IDS = ["a/b", "a%2Fb", "a%b", "a b", "ä/ö", "..", "a//b", "/", "%", "%25", "a?b#c", "a+b"]


@pytest.mark.parametrize("user_id", IDS)
def test_id_with_any_character_is_one_user(service: Service, headers: dict[str, str], user_id: str) -> None:
    url = f"{service.url}/api/v1/mailer/users/{quote(user_id, safe='')}"
    if user_id == "..":
        url = url.replace("..", "%2E%2E")
    session = requests.Session()
    prepared = [
        requests.Request("PUT", url, json={"name": "One"}, headers=headers).prepare(),
        requests.Request("PATCH", url, json={"name": "Two"}, headers=headers).prepare(),
        requests.Request("DELETE", url, headers=headers).prepare(),
    ]
    for sent in prepared:
        sent.url = url
    answers = [session.send(sent, timeout=10) for sent in prepared]
    assert [answer.status_code for answer in answers] == [201, 200, 200], answers[-1].text
    assert {answer.json()["user"]["_id"] for answer in answers} == {user_id}
    back = requests.delete(f"{service.url}/api/v1/mailer/unsubscribes/{quote(user_id, safe='')}", headers=headers)
    assert user_id == ".." or back.status_code == 200


ROUTED = {
    "plain": ("/a/b", "/a/b", "", "/a/b"),
    "slash": ("/a/b%2Fc", "/a/b/c", "", "/a/b%2Fc"),
    "small letters": ("/a/b%2fc", "/a/b/c", "", "/a/b%2fc"),
    "percent": ("/a/b%252Fc", "/a/b%2Fc", "", "/a/b%252Fc"),
    "query": ("/a%2Fb?c=%2F", "/a/b", "", "/a%2Fb"),
    "absolute": ("http://h/a%2Fb", "/a/b", "", "/a%2Fb"),
    "prefix": ("/p/a%2Fb", "/a/b", "/p", "/a%2Fb"),
    "another path": ("/evil", "/a%b", "", "/a%25b"),
    "no raw one": ("", "/a%b", "", "/a%25b"),
    "link": ("/mailer/unsubscribe/t.s?x", "/mailer/unsubscribe/t.s", "", "/mailer/unsubscribe/t.s"),
    "link, encoded": ("/mailer%2Funsubscribe%2Ft.s", "/mailer/unsubscribe/t.s", "", "/mailer/unsubscribe/t.s"),
    "link, twice": ("/mailer%252Funsubscribe%252Ft", "/mailer%2Funsubscribe%2Ft", "", "/mailer/unsubscribe/t"),
    "link, doubled slashes": ("//mailer//unsubscribe//t", "//mailer//unsubscribe//t", "", "/mailer/unsubscribe/t"),
    "link, wrapped": ("/mailer/unsubscribe/t%0D%0A.s", "/mailer/unsubscribe/t\r\n.s", "", "/mailer/unsubscribe/t.s"),
    "link below a prefix": ("/p/mailer/unsubscribe%2Ft", "/mailer/unsubscribe/t", "/p", "/mailer/unsubscribe/t"),
}


@pytest.mark.parametrize(("raw", "path", "prefix", "expected"), ROUTED.values(), ids=ROUTED)
def test_encoded_slash_is_kept_for_the_route(raw: str, path: str, prefix: str, expected: str) -> None:
    assert routed(raw, path, prefix) == expected


LISTED = [
    "campaigns",
    "campaigns/{id}",
    "campaigns/{id}/deliveries",
    "campaigns/{id}/export",
    "unsubscribes",
    "unsubscribes/export",
    "not-written-to/export",
    "suppressed-addresses",
    "suppressed-addresses/export",
]


@pytest.mark.parametrize("path", LISTED)
def test_parameter_that_is_not_known_is_400_and_named(service: Service, headers: dict[str, str], path: str) -> None:
    campaign = service.post(headers, dryrun=True).headers["Location"].rpartition("/")[2]
    url = "/api/v1/mailer/" + path.format(id=campaign)
    assert service.get(url, headers).status_code == 200
    answer = service.get(f"{url}?surprise=user00001", headers)
    assert (answer.status_code, answer.json()["details"]["field"]) == (400, "surprise")
    twice = service.get(f"{url}?count=1&count=2", headers)
    assert (twice.status_code, twice.json()["details"]["field"]) == (400, "count")


@pytest.mark.parametrize(("method", "path", "kind"), TAKING.values(), ids=TAKING)
def test_parameter_is_refused_where_none_is_taken(
    service: Service, headers: dict[str, str], method: str, path: str, kind: str
) -> None:
    answer = requests.request(method, f"{service.url}{path}?dryrun=true", headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["details"]["field"]) == (400, "dryrun")


def test_tracker_on_the_unsubscribe_link_does_no_harm(service: Service) -> None:
    assert service.get("/mailer/unsubscribe/x?utm_source=mail").status_code == 404
    assert service.get("/healthz?t=1").status_code == 200


def test_silent_connections_do_not_delay_others(service: Service) -> None:
    with ExitStack() as lines:
        for _ in range(200):
            lines.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=10))
        began = time.monotonic()
        assert service.get("/healthz").ok
        assert time.monotonic() - began < 2  # gunicorn's own threads would wait five seconds for each


def test_slow_bodies_leave_threads_for_others(service: Service, headers: dict[str, str]) -> None:
    with ExitStack() as lines:
        for _ in range(20):
            line = lines.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=10))
            line.sendall(request("POST", "/api/v1/mailer", headers, "Content-Length: 500", JSON))
        began = time.monotonic()
        assert service.get("/healthz").ok
        assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "path", ["/docs/", "/docs/openapi.json", "/docs/start.js", "/mailer/unsubscribe/x", "/healthz"]
)
def test_nothing_is_framed_sniffed_or_inline(service: Service, path: str) -> None:
    answer = service.get(path)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    if "html" in answer.headers["Content-Type"]:
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", answer.text)


def test_documentation_works_under_its_policy(service: Service, browser: webdriver.Chrome) -> None:
    browser.get(f"{service.url}/docs/")
    wait = WebDriverWait(browser, 30)
    wait.until(lambda page: page.find_elements(By.CSS_SELECTOR, ".opblock-summary"))
    info = next(
        block
        for block in browser.find_elements(By.CSS_SELECTOR, ".opblock-summary")
        if "/api/v1/info" in block.text.replace("\u200b", "")
    )
    browser.execute_script("arguments[0].querySelector('button').click()", info)
    button = wait.until(lambda page: page.find_element(By.CSS_SELECTOR, ".try-out__btn"))
    browser.execute_script("arguments[0].click()", button)
    button = wait.until(lambda page: page.find_element(By.CSS_SELECTOR, "button.execute"))
    browser.execute_script("arguments[0].click()", button)
    shown = wait.until(lambda page: page.find_elements(By.CSS_SELECTOR, ".live-responses-table"))
    assert '"version"' in shown[0].text
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
