"""The directory over a real gunicorn: single users, and streams of them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from sqlalchemy import select

from mailer.directory.merge_patch import merged
from mailer.storage.models import User
from tests.conftest import user_row
from tests.service import Service

pytestmark = pytest.mark.slow

PATH = "/api/v1/mailer/users"
ANN = {"name": "Ann Lee", "emails": [{"address": "Ann@Example.com", "verified": True}], "roles": ["user"]}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, module_database_url: str) -> Iterator[Service]:
    folder, url = tmp_path_factory.mktemp("users"), module_database_url
    made = Service(folder, database_url=url, transport="memory:", rate_limit="", max_body_bytes=20_000)
    with made.db.write() as connection:
        connection.execute(User.__table__.insert(), [user_row(0)])
    with made:
        yield made


@pytest.fixture
def headers(service: Service) -> dict[str, str]:
    return service.headers("user00000", "manage-users")


def call(service: Service, headers: dict[str, str], method: str, user_id: str, body: Any = None) -> requests.Response:
    return requests.request(method, f"{service.url}{PATH}/{user_id}", json=body, headers=headers, timeout=30)


def stream(service: Service, headers: dict[str, str], body: Any) -> requests.Response:
    headed = {**headers, "Content-Type": "application/x-ndjson"}
    return requests.post(f"{service.url}{PATH}:import", data=body, headers=headed, timeout=60)


def stored(service: Service, user_id: str) -> Any:
    with service.db.read() as connection:
        return connection.execute(select(User.__table__).where(User.id == user_id)).one_or_none()


def test_put_adds_then_replaces(service: Service, headers: dict[str, str]) -> None:
    answer = call(service, headers, "PUT", "put1", {**ANN, "language": "en", "services": {"password": "x"}})
    document = {"_id": "put1", **ANN, "language": "en", "active": True}
    nobody_left = {"endedTokens": 0, "pausedCampaigns": [], "ongoingCampaigns": [], "waitingCampaigns": []}
    assert (answer.status_code, answer.json()) == (201, {"success": True, "user": document, **nobody_left})
    assert (stored(service, "put1").email, stored(service, "put1").name) == ("Ann@example.com", "Ann Lee")
    again = call(service, headers, "PUT", "put1", {"_id": "put1", "name": "Bob"})
    assert (again.status_code, again.json()["user"]) == (200, {"_id": "put1", "name": "Bob", "active": True})
    assert stored(service, "put1").email is None


def test_patch_changes_what_it_names(service: Service, headers: dict[str, str]) -> None:
    fields = {"createdAt": {"$date": 5}, "customFields": {"plan": "free", "seat": 1}}
    call(service, headers, "PUT", "patch1", {**ANN, **fields})
    changes = {"roles": ["admin"], "emails": None, "customFields": {"plan": "pro", "seat": None}}
    answer = call(service, headers, "PATCH", "patch1", {**changes, "createdAt": {"$date": "2015-01-01T00:00:00Z"}})
    document = {"_id": "patch1", "name": "Ann Lee", "active": True, "roles": ["admin"], "customFields": {"plan": "pro"}}
    document["createdAt"] = {"$date": 1_420_070_400_000}
    assert (answer.status_code, answer.json()["user"]) == (200, document)
    row = stored(service, "patch1")
    assert (row.email, row.created_at, row.document) == (None, 1_420_070_400_000, document)


def test_delete_makes_inactive_and_patch_takes_it_back(service: Service, headers: dict[str, str]) -> None:
    call(service, headers, "PUT", "del1", ANN)
    theirs = service.headers("del1", "send-mail")
    assert service.get("/api/v1/mailer/campaigns", theirs).status_code == 200
    for _ in range(2):
        answer = call(service, headers, "DELETE", "del1")
        assert (answer.status_code, answer.json()["user"]["active"]) == (200, False)
    assert stored(service, "del1").active is False
    assert service.get("/api/v1/mailer/campaigns", theirs).status_code == 401
    call(service, headers, "PATCH", "del1", {"active": True})
    assert stored(service, "del1").active is True


def test_unsubscription_outlasts_every_change(service: Service, headers: dict[str, str]) -> None:
    call(service, headers, "PUT", "out1", {**ANN, "mailer": {"unsubscribed": True}})
    since = stored(service, "out1").unsubscribed_at
    assert since
    call(service, headers, "PUT", "out1", ANN)
    call(service, headers, "PATCH", "out1", {"name": "Other", "mailer": {"unsubscribed": False}})
    call(service, headers, "PATCH", "out1", {"mailer": {"unsubscribed": True}})
    assert stream(service, headers, json.dumps({"_id": "out1", **ANN})).status_code == 200
    assert stored(service, "out1").unsubscribed_at == since


def test_mark_of_the_workspace_counts_when_it_is_new(service: Service, headers: dict[str, str]) -> None:
    call(service, headers, "PUT", "mark1", ANN)
    call(service, headers, "PATCH", "mark1", {"mailer": {"unsubscribed": True}})
    assert stored(service, "mark1").unsubscribed_at
    requests.delete(f"{service.url}/api/v1/mailer/unsubscribes/mark1", headers=headers, timeout=30)
    call(service, headers, "PATCH", "mark1", {"name": "Other"})
    assert stored(service, "mark1").unsubscribed_at is None


REFUSED = [
    ("PUT", "bad1", {"roles": "admin"}, 400, "error-invalid-user", "roles"),
    ("PUT", "bad1", {"emails": [{"address": 1}]}, 400, "error-invalid-user", "emails.0"),
    ("PUT", "bad1", {"_id": "other"}, 400, "invalid-params", "_id"),
    ("PUT", "bad1", {"name": "half \ud800"}, 400, "error-invalid-user", "name"),
    ("PUT", "bad1", [1], 400, "invalid-params", "body"),
    ("PUT", "b" * 300, {}, 400, "error-invalid-user", "_id"),
    ("PATCH", "user00000", {"active": "no"}, 400, "error-invalid-user", "active"),
    ("PATCH", "user00000", {"_id": "other"}, 400, "invalid-params", "_id"),
    ("PATCH", "nobody", {"name": "x"}, 404, "error-not-found", None),
    ("DELETE", "nobody", None, 404, "error-not-found", None),
]


@pytest.mark.parametrize(("method", "user_id", "body", "status", "kind", "field"), REFUSED)
def test_what_is_no_user_is_refused_by_field(
    service: Service, headers: dict[str, str], method: str, user_id: str, body: Any, status: int, kind: str, field: Any
) -> None:
    before = stored(service, user_id)
    answer = call(service, headers, method, user_id, body)
    told = answer.json()
    assert (answer.status_code, told["errorType"], told["details"].get("field")) == (status, kind, field)
    assert stored(service, user_id) == before


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_only_who_manages_users_may_change_them(service: Service, method: str) -> None:
    before = stored(service, "user00000")
    for headers, status in (({}, 401), (service.headers("user00000", "send-mail"), 403)):
        assert call(service, headers, method, "user00000", {"name": "x"}).status_code == status
        assert stream(service, headers, "{}").status_code == status
    assert stored(service, "user00000") == before


def test_patches_at_once_lose_nothing(service: Service, headers: dict[str, str]) -> None:
    call(service, headers, "PUT", "race1", ANN)

    def patch(number: int) -> None:
        call(service, headers, "PATCH", "race1", {"customFields": {f"n{number}": number}})

    threads = [threading.Thread(target=patch, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stored(service, "race1").document["customFields"]) == 12


def test_puts_of_a_new_user_at_once_are_one_user(service: Service, headers: dict[str, str]) -> None:
    statuses: list[int] = []

    def put(number: int) -> None:
        statuses.append(call(service, headers, "PUT", "race2", {**ANN, "name": f"Ann {number}"}).status_code)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 7 + [201]


def users(name: str, count: int) -> Iterator[bytes]:
    for number in range(count):
        yield json.dumps({"_id": f"{name}{number:05d}", "name": "x" * 50}).encode() + b"\n"


def test_stream_adds_all_of_it(service: Service, headers: dict[str, str]) -> None:
    added = stream(service, headers, users("many", 2000))  # chunked, and over max_body_bytes
    told = added.json()
    assert (told["created"], told["updated"], told["unchanged"], told["unreachable"]) == (2000, 0, 0, 2000)
    assert [len(told["problems"]), told["problems"][0]["_id"]] == [100, "many00000"]
    assert stream(service, headers, b"".join(users("many", 2000))).json()["unchanged"] == 2000


def test_stream_with_a_bad_line_adds_nothing(service: Service, headers: dict[str, str]) -> None:
    answer = stream(service, headers, b"".join(users("half", 700)) + b'{"_id": 7}\n')
    assert (answer.status_code, answer.json()["errorType"]) == (400, "error-invalid-user")
    assert answer.json()["details"] == {"row": 701, "field": "_id"}
    assert stored(service, "half00000") is None


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "with a length"])
def test_stream_that_breaks_off_adds_nothing(service: Service, headers: dict[str, str], chunked: bool) -> None:
    body = b"".join(users("torn", 600))
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body) + 100}"
    lines = [f"POST {PATH}:import HTTP/1.1", "Host: x", "Content-Type: application/x-ndjson", length]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode()
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(head + (b"%x\r\n%s\r\n" % (len(body), body) if chunked else body))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    assert stored(service, "torn00000") is None
    assert service.get("/healthz").ok


MERGES = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ({"a": {"$date": 1}}, {"a": {"$date": 2}}, {"a": {"$date": 2}}),
    ({"a": {"b": 1}}, {"a": {"$date": 2}}, {"a": {"$date": 2}}),
]


@pytest.mark.parametrize(("target", "changes", "result"), MERGES)
def test_merge_follows_rfc_7396(target: dict[str, Any], changes: dict[str, Any], result: dict[str, Any]) -> None:
    assert merged(target, changes) == result


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", f"{PATH}/%00"),
        ("PATCH", f"{PATH}/a%00"),
        ("DELETE", "/api/v1/mailer/unsubscribes/%00"),
        ("GET", "/api/v1/mailer/campaigns/%00"),
        ("GET", "/api/v1/mailer/campaigns/%00/export"),
        ("POST", "/api/v1/mailer/campaigns/%00/pause"),
    ],
)
def test_there_is_nothing_at_an_address_that_no_database_can_hold(service: Service, method: str, path: str) -> None:
    headers = service.headers("user00000", "manage-users", "send-mail")
    answer = requests.request(method, service.url + path, json={}, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["errorType"]) == (404, "error-not-found")


def upload(service: Service, headers: dict[str, str], kind: str, body: bytes, query: str = "") -> requests.Response:
    headed = {**headers, "Content-Type": kind}
    return requests.post(f"{service.url}{PATH}:import{query}", data=body, headers=headed, timeout=60)


def test_import_takes_tables_and_pages(service: Service, headers: dict[str, str]) -> None:
    answer = upload(
        service, headers, "text/csv", "ID;Name;E-Mail\nup1;Zoë;\nup2;Bob;bob@example.com\n".encode("cp1252")
    )
    told = answer.json()
    assert (answer.status_code, told["created"], told["unreachable"]) == (200, 2, 1)
    assert told["problems"] == [{"_id": "up1", "field": "emails", "reason": "has no address"}]
    assert told["notes"] == [
        "line 2 is not in UTF-8: read as Windows-1252 (cp1252)",
        "cells are separated by a semicolon",
    ]
    assert stored(service, "up1").name == "Zoë"
    page = json.dumps({"users": [{"_id": "up1", "language": "de"}], "count": 1}).encode()
    for kind in ("application/json", "application/x-ndjson"):
        assert upload(service, headers, kind, page).json()["created"] == 0
    assert stored(service, "up1").document == {"_id": "up1", "name": "Zoë", "language": "de", "active": True}


def test_import_heeds_what_the_address_and_the_type_say(service: Service, headers: dict[str, str]) -> None:
    upload(service, headers, "text/csv; charset=iso-8859-2", "_id,name,status\nup3,Łucja,x\n".encode("iso-8859-2"))
    assert stored(service, "up3").name == "Łucja"
    table = b"_id,name,status,Phone\nup3,Lucy,,1\n"
    assert upload(service, headers, "text/csv", table).json()["details"] == {"row": 1, "field": "Phone"}
    assert upload(service, headers, "text/csv", table, "?ignoreUnknown=true").json()["updated"] == 1
    assert stored(service, "up3").document["status"] == "x"
    upload(service, headers, "text/csv", table, "?ignoreUnknown=true&emptyClears=true")
    assert "status" not in stored(service, "up3").document
    upload(service, headers, "text/csv", b"_id\nup3\n", "?replace=true")
    assert stored(service, "up3").document == {"_id": "up3", "active": True}
    assert upload(service, headers, "text/csv", table, "?replaced=true").status_code == 400
    assert upload(service, headers, "text/plain", table).status_code == 400


def test_username_names_a_user_where_no_id_does(service: Service, headers: dict[str, str]) -> None:
    call(service, headers, "PUT", "named1", {"username": "namesake"})
    call(service, headers, "PUT", "named2", {"username": "named1"})
    assert call(service, headers, "PATCH", "namesake", {"name": "Ann"}).json()["user"]["_id"] == "named1"
    assert call(service, headers, "DELETE", "named1").json()["user"]["_id"] == "named1"
    assert stored(service, "named2").active is True


def test_put_leaves_a_deactivated_user_so(service: Service, headers: dict[str, str]) -> None:
    call(service, headers, "PUT", "still1", ANN)
    call(service, headers, "DELETE", "still1")
    assert call(service, headers, "PUT", "still1", ANN).json()["user"]["active"] is False
    assert call(service, headers, "PUT", "still1", {**ANN, "active": True}).json()["user"]["active"] is True
