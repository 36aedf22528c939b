"""The unsubscribed over a real gunicorn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from sqlalchemy import delete, select, update

from mailer.storage.models import User, Wish
from tests.conftest import user_row
from tests.service import Service

pytestmark = pytest.mark.slow

PATH = "/api/v1/mailer/unsubscribes"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, module_database_url: str) -> Iterator[Service]:
    folder, settings = tmp_path_factory.mktemp("unsubscribes"), {"rate_limit": "", "max_body_bytes": 20_000}
    made = Service(folder, database_url=module_database_url, transport="memory:", **settings)
    with made.db.write() as connection:
        connection.execute(User.__table__.insert(), [user_row(n) for n in range(5)])
    with made:
        yield made


@pytest.fixture
def service(running: Service) -> Service:
    """Of the five, user00001 and user00003 have unsubscribed."""
    gone = User.id.in_(["user00001", "user00003"])
    with running.db.write() as connection:
        connection.execute(update(User).values(unsubscribed_at=None))
        connection.execute(delete(Wish))
        connection.execute(update(User).where(gone).values(unsubscribed_at=1_420_070_400_000))
    return running


@pytest.fixture
def headers(service: Service) -> dict[str, str]:
    return service.headers("user00000", "manage-users")


def marked(service: Service) -> list[str]:
    with service.db.read() as connection:
        return list(connection.scalars(select(User.id).where(User.unsubscribed_at.is_not(None)).order_by(User.id)))


def send_list(service: Service, headers: dict[str, str], body: object, kind: str = "text/csv") -> requests.Response:
    headed = {**headers, "Content-Type": kind}
    return requests.post(f"{service.url}{PATH}:import", data=body, headers=headed, timeout=30)


def test_listing_goes_on_where_it_ended(service: Service, headers: dict[str, str]) -> None:
    first = service.get(f"{PATH}?count=1", headers).json()
    one = {"_id": "user00001", "address": "user00001@example.com", "unsubscribedAt": "2015-01-01T00:00:00.000Z"}
    one |= {"campaign": None}
    assert first == {"success": True, "unsubscribes": [one], "count": 1, "next": "user00001"}
    last = service.get(f"{PATH}?after=user00001", headers).json()
    assert ([row["_id"] for row in last["unsubscribes"]], last["next"]) == (["user00003"], None)


def test_export_imports_again(service: Service, headers: dict[str, str]) -> None:
    for form, kind in (("csv", "text/csv"), ("ndjson", "application/x-ndjson")):
        exported = service.get(f"{PATH}/export?format={form}", headers)
        assert exported.headers["Content-Type"].partition(";")[0] == kind
        assert exported.headers["Content-Disposition"] == f'attachment; filename="unsubscribes.{form}"'
        merged = send_list(service, headers, exported.content, kind).json()
        assert merged == {"success": True, "unsubscribed": 0, "already": 2, "unmatched": 0, "erased": 0, "notes": []}


def test_list_is_merged_as_it_streams_in(service: Service, headers: dict[str, str]) -> None:
    lines = (f"user{number:05d}@example.com\n".encode() for number in range(3000))  # chunked, and over max_body_bytes
    merged = send_list(service, headers, lines, "text/plain").json()
    assert merged == {"success": True, "unsubscribed": 3, "already": 2, "unmatched": 2995, "erased": 0, "notes": []}
    assert len(marked(service)) == 5


def test_list_with_a_bad_row_changes_nothing(service: Service, headers: dict[str, str]) -> None:
    answer = send_list(service, headers, b"address\nuser00000@example.com\nuser00002\xff\n")
    assert (answer.status_code, answer.json()["errorType"]) == (400, "error-invalid-user")
    assert answer.json()["details"] == {"row": 3, "field": "address"}
    assert marked(service) == ["user00001", "user00003"]


def test_body_of_another_type_is_refused(service: Service, headers: dict[str, str]) -> None:
    answer = send_list(service, headers, b"address\n", "application/x-www-form-urlencoded")
    assert (answer.status_code, answer.json()["errorType"]) == (400, "invalid-params")


def test_user_is_subscribed_again(service: Service, headers: dict[str, str]) -> None:
    for _ in range(2):
        answer = requests.delete(f"{service.url}{PATH}/user00001", headers=headers, timeout=30)
        assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert marked(service) == ["user00003"]
    unknown = requests.delete(f"{service.url}{PATH}/nobody", headers=headers, timeout=30)
    assert (unknown.status_code, unknown.json()["errorType"]) == (404, "error-not-found")


def test_address_of_nobody_is_kept_shown_and_taken_back(service: Service, headers: dict[str, str]) -> None:
    url = f"{service.url}{PATH}:import?list=fair.csv"
    body = "E-Mail;unsubscribedAt\nNobody@example.com;2015-01-01\nJörg <joerg@example.com>;\n".encode("cp1252")
    answer = requests.post(url, data=body, headers={**headers, "Content-Type": "text/csv"}, timeout=30).json()
    assert (answer["unmatched"], len(answer["notes"])) == (2, 1)
    first = service.get("/api/v1/mailer/wishes?count=1", headers).json()
    (wish,) = service.get(f"/api/v1/mailer/wishes?after={first['next']}", headers).json()["wishes"]
    kept_at = wish.pop("keptAt")
    facts = {"unsubscribedAt": "2015-01-01T00:00:00.000Z", "keptBy": "user00000", "list": "fair.csv"}
    assert (wish, kept_at > "2020") == ({"address": "nobody@example.com", "_id": None, **facts}, True)
    assert "joerg@example.com" in service.get(f"{PATH}/export", headers).text
    document = {"emails": [{"address": "nobody@example.com"}]}
    put = requests.put(f"{service.url}/api/v1/mailer/users/late", json=document, headers=headers, timeout=30)
    assert (put.status_code, "late" in marked(service)) == (201, True)

    wishes = f"{service.url}/api/v1/mailer/wishes"
    back = requests.delete(f"{wishes}/NOBODY@example.com", headers=headers, timeout=30)
    assert back.json() == {"success": True, "users": 1}
    assert "late" not in marked(service)
    assert requests.delete(f"{wishes}/nobody@example.com", headers=headers, timeout=30).status_code == 404
    with service.db.write() as connection:
        connection.execute(delete(User).where(User.id == "late"))


CALLS = [("GET", ""), ("GET", "/export"), ("POST", ":import"), ("DELETE", "/user00001"), ("GET", "/../wishes")]
CALLS += [("DELETE", "/../wishes/user00001@example.com")]


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_only_who_manages_users_gets_in(service: Service, method: str, path: str) -> None:
    for headers, status in (({}, 401), (service.headers("user00000", "send-mail"), 403)):
        url = f"{service.url}{PATH}{path}".replace("unsubscribes/../", "")
        answer = requests.request(method, url, headers={**headers, "Content-Type": "text/csv"}, timeout=30)
        assert answer.status_code == status
    assert marked(service) == ["user00001", "user00003"]
