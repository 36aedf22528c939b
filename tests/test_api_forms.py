"""Forms as bodies, over a real gunicorn: what they say is what happens, and what they may have meant is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from mailer.storage.models import User
from tests.conftest import user_row
from tests.service import PAYLOAD, Service

pytestmark = pytest.mark.slow

URLENCODED = "application/x-www-form-urlencoded"
BOUNDARY = "edge"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    made = Service(tmp_path_factory.mktemp("forms"), transport="memory:", rate_limit="", max_body_bytes=50_000)
    with made.db.write() as connection:
        connection.execute(User.__table__.insert(), [user_row(n) for n in range(2)])
    with made:
        yield made


@pytest.fixture
def headers(service: Service) -> dict[str, str]:
    return service.headers("user00000")


def total(service: Service, headers: dict[str, str]) -> int:
    return int(service.get("/api/v1/mailer/campaigns", headers).json()["total"])


def post(service: Service, headers: dict[str, str], **options: Any) -> requests.Response:
    return requests.post(f"{service.url}/api/v1/mailer", headers=headers, timeout=30, **options)


def multipart(fields: dict[str, str]) -> dict[str, Any]:
    return {"files": {name: (None, value) for name, value in fields.items()}}


@pytest.mark.parametrize("encode", [lambda fields: {"data": fields}, multipart], ids=["urlencoded", "multipart"])
@pytest.mark.parametrize(
    ("changes", "dry"),
    [({}, False), ({"dryrun": "true"}, True), ({"dryrun": "FALSE"}, False), ({"query": '{"type": "user"}'}, False)],
    ids=["plain", "dry run", "no dry run", "query"],
)
def test_form_is_read(service: Service, headers: dict[str, str], encode, changes, dry: bool) -> None:
    answer = post(service, headers, **encode({**PAYLOAD, "subject": "Grüße an [fname] & alle", **changes}))
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    campaign = service.get(answer.headers["Location"], headers).json()["campaign"]
    assert (campaign["subject"], campaign["dryrun"]) == ("Grüße an [fname] & alle", dry)


def test_form_may_be_as_large_as_json(service: Service, headers: dict[str, str]) -> None:
    body = "[unsubscribe]" + "x" * 40_000
    assert post(service, headers, data={**PAYLOAD, "body": body}).status_code == 200
    assert post(service, headers, **multipart({**PAYLOAD, "body": body})).status_code == 200
    assert post(service, headers, data={**PAYLOAD, "body": body + body}).status_code == 413


REFUSED = {
    "unknown field": ({"cc": "x@example.com"}, "cc"),
    "query empty": ({"query": ""}, "query"),
    "query blank": ({"query": " "}, "query"),
    "dryrun number": ({"dryrun": "1"}, "dryrun"),
    "dryrun yes": ({"dryrun": "yes"}, "dryrun"),
    "dryrun empty": ({"dryrun": ""}, "dryrun"),
    "dryrun on": ({"dryrun": "on"}, "dryrun"),
    "dryrun null": ({"dryrun": "null"}, "dryrun"),
    "subject empty": ({"subject": ""}, "subject"),
    "bracketed": ({"query[type]": "user"}, "query[type]"),
    "nul": ({"body": "[unsubscribe]\0"}, "body"),
}


@pytest.mark.parametrize("encode", [lambda fields: {"data": fields}, multipart], ids=["urlencoded", "multipart"])
@pytest.mark.parametrize(("changes", "field"), REFUSED.values(), ids=REFUSED)
def test_field_that_may_mean_something_else_is_refused(
    service: Service, headers: dict[str, str], encode, changes, field: str
) -> None:
    before = total(service, headers)
    answer = post(service, headers, **encode({**PAYLOAD, **changes}))
    assert (answer.status_code, answer.json()["details"]["field"]) == (400, field), answer.text
    assert total(service, headers) == before


def part(name: str, value: bytes, more: str = "") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + value + b"\r\n"


GOOD = b"from=a%40example.com&subject=Hi&body=%5Bunsubscribe%5D"
PARTS = part("from", b"a@example.com") + part("subject", b"Hi") + part("body", b"[unsubscribe]")
END = f"--{BOUNDARY}--\r\n".encode()
RAW: dict[str, tuple[bytes, str, str]] = {
    "repeated": (GOOD + b"&query=%7B%22a%22%3A1%7D&query=%7B%7D", URLENCODED, "query"),
    "repeated dryrun": (GOOD + b"&dryrun=true&dryrun=false", URLENCODED, "dryrun"),
    "not utf-8": (GOOD + b"&query=%ff", URLENCODED, "body"),
    "raw bytes": (GOOD + b"&query=\xff", URLENCODED, "body"),
    "many fields": (GOOD + b"&a=1" * 200, URLENCODED, "body"),
    "no value": (GOOD + b"&dryrun", URLENCODED, "dryrun"),
    "json called a form": (b'{"from": "a@example.com"}', URLENCODED, "body"),
    "empty": (b"", URLENCODED, "from"),
    "multipart repeated": (PARTS + part("dryrun", b"true") * 2 + END, MULTIPART, "dryrun"),
    "multipart not utf-8": (PARTS + part("query", b"\xff") + END, MULTIPART, "body"),
    "multipart cut short": (PARTS, MULTIPART, "body"),
    "multipart cut within": (PARTS[:-4], MULTIPART, "body"),
    "multipart without a boundary": (PARTS + END, "multipart/form-data", "body"),
    "multipart file": (PARTS + part("query", b"{}", '; filename="q"') + END, MULTIPART, "query"),
    "multipart many": (PARTS + part("a", b"1") * 200 + END, MULTIPART, "body"),
}


@pytest.mark.parametrize(("data", "kind", "field"), RAW.values(), ids=RAW)
def test_body_that_is_no_form_is_400(
    service: Service, headers: dict[str, str], data: bytes, kind: str, field: str
) -> None:
    before = total(service, headers)
    answer = post(service, {**headers, "Content-Type": kind}, data=data)
    assert (answer.status_code, answer.json()["details"]["field"]) == (400, field), answer.text
    assert total(service, headers) == before


def test_form_of_those_parts_is_fine_when_it_is_whole(service: Service, headers: dict[str, str]) -> None:
    assert post(service, {**headers, "Content-Type": MULTIPART}, data=PARTS + END).status_code == 200
    assert post(service, {**headers, "Content-Type": URLENCODED}, data=GOOD).status_code == 200


def test_replacement_character_that_was_sent_is_taken(service: Service, headers: dict[str, str]) -> None:
    assert post(service, headers, **multipart({**PAYLOAD, "subject": "\ufffd"})).status_code == 200


def test_unsubscribe_reads_forms(service: Service, headers: dict[str, str]) -> None:
    url = f"{service.url}/api/v1/mailer.unsubscribe"
    form = {"_id": "user00001", "createdAt": "1420070400001"}
    assert requests.post(url, data=form, headers=headers, timeout=10).json() == {"success": True}
    with service.db.read() as connection:
        user = User.__table__
        row = connection.execute(user.select().where(user.c.id == "user00001")).one()
    assert row.unsubscribed_at is not None


def test_document_is_no_form(service: Service) -> None:
    headers = service.headers("user00000", "manage-users")
    answer = requests.put(f"{service.url}/api/v1/mailer/users/x", data={"active": "false"}, headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["errorType"]) == (400, "invalid-params")
