"""Tokens and signing keys over HTTP and on the pages, and the page on which campaigns are handed over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, select

from app import create_app
from mailer.audit.log import Act, entries
from mailer.callers.tokens import MANAGE_CAMPAIGNS, MANAGE_USERS, PERMISSIONS, Tokens, digest_of
from mailer.messages.links import fingerprint
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import AuthToken, Campaign, SigningKey
from tests.harness import Harness
from tests.test_signed_in_pages import form_of, sign_in

API = "/api/v1/mailer"
KEY = "k" * 40
GONE = "ab" * 8


@pytest.fixture
def client(db: Database, add_users: Callable[..., list[str]]) -> FlaskClient:
    add_users(db, 4)
    with db.write() as connection:
        connection.execute(insert(SigningKey).values(fingerprint=GONE, known_at=1, messages=7, last_signed_at=1))
    return create_app(Settings(database_url=db.url, secret_key=(KEY,))).test_client()


def headers(db: Database, *permissions: str) -> dict[str, str]:
    return {"X-User-Id": "user00000", "X-Auth-Token": Tokens(db).create("user00000", permissions)}


def owners(db: Database) -> list[str]:
    with db.read() as connection:
        return sorted(connection.scalars(select(AuthToken.user_id)))


def test_tokens_are_listed_by_digest_and_ended(client: FlaskClient, db: Database) -> None:
    one = Tokens(db).create("user00001", ["send-mail"], 86_400_000, "the feed")
    for _ in range(2):
        Tokens(db).create_for_service("digest", ["send-mail"])
    mine = headers(db, MANAGE_USERS)

    found = client.get(f"{API}/tokens", headers=mine).get_json()
    assert found["count"] == 4
    assert one not in str(found)
    shown = found["tokens"][0]
    assert (shown["userId"], shown["label"], shown["permissions"]) == ("user00001", "the feed", ["send-mail"])
    assert (shown["digest"], shown["lastUsedAt"], shown["endsSoon"]) == (digest_of(one), None, False)

    ended = client.post(f"{API}/tokens:revoke", json={"digest": digest_of(one)[:12]}, headers=mine)
    assert ended.get_json() == {"success": True, "revoked": 1}
    ended = client.post(f"{API}/tokens:revoke", json={"user": "service:digest"}, headers=mine)
    assert ended.get_json() == {"success": True, "revoked": 2}
    assert owners(db) == ["user00000"]
    assert [one.about for one in entries(db, act=Act.REVOKE_TOKEN)] == ["service:digest"] * 2 + ["user00001"]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "digest"),
        ({"digest": "abcd"}, 400, "digest"),
        ({"digest": "%" * 8}, 400, "digest"),
        ({"digest": "0" * 64}, 404, None),
        ({"user": "user00003"}, 404, None),
        ({"user": ""}, 400, "user"),
        ({"user": "user00001", "digest": "0" * 8}, 400, "digest"),
        ({"users": "user00001"}, 400, "users"),
    ],
)
def test_nothing_that_was_not_meant_is_ended(
    client: FlaskClient, db: Database, body: dict[str, str], status: int, field: str | None
) -> None:
    Tokens(db).create("user00001", ["send-mail"])
    answer = client.post(f"{API}/tokens:revoke", json=body, headers=headers(db, MANAGE_USERS))
    assert (answer.status_code, answer.get_json()["details"].get("field")) == (status, field)
    assert owners(db) == ["user00000", "user00001"]


def test_each_part_takes_its_permission(client: FlaskClient, db: Database) -> None:
    for permission in PERMISSIONS:
        mine = headers(db, permission)
        assert (client.get(f"{API}/tokens", headers=mine).status_code == 200) == (permission == MANAGE_USERS)
        assert (client.get(f"{API}/signing-keys", headers=mine).status_code == 200) == (permission == MANAGE_CAMPAIGNS)
    revoking = client.post(f"{API}/tokens:revoke", json={"user": "user00000"}, headers=headers(db, MANAGE_CAMPAIGNS))
    assert revoking.status_code == 403


def test_keys_are_listed_and_only_missing_ones_forgotten(client: FlaskClient, db: Database) -> None:
    mine = headers(db, MANAGE_CAMPAIGNS)
    signs, missing = client.get(f"{API}/signing-keys", headers=mine).get_json()["keys"]
    assert (signs["fingerprint"], signs["role"], signs["mayGoAt"]) == (fingerprint(KEY), "signs", None)
    assert (missing["fingerprint"], missing["role"], missing["messages"], missing["mayGo"]) == (
        GONE,
        "missing",
        7,
        True,
    )

    def forget(name: str) -> int:
        return client.post(f"{API}/signing-keys:forget", json={"fingerprint": name}, headers=mine).status_code

    assert [forget(name) for name in (fingerprint(KEY), "00" * 8, "xx", GONE, GONE)] == [409, 404, 400, 200, 404]
    assert [one.about for one in entries(db, act=Act.FORGET_KEY)] == [GONE]


def open_page(client: FlaskClient, db: Database, *permissions: str) -> str:
    sign_in(client, "user00000", Tokens(db).create("user00000", permissions))
    return client.get("/mailer/system/credentials").text


def press(client: FlaskClient, page: str, place: str, **fields: str) -> Any:
    path = f"/mailer/system/{place}"
    answer = client.post(path, data={"form": form_of(page), **fields})
    return client.get(urljoin(path, answer.location)) if answer.status_code == 303 else answer


def test_page_shows_tokens_and_keys_and_ends_one(client: FlaskClient, db: Database) -> None:
    one = Tokens(db).create("user00001", ["send-mail"], None, "<b>the feed</b>")
    page = open_page(client, db, MANAGE_USERS, MANAGE_CAMPAIGNS)
    assert "&lt;b&gt;the feed&lt;/b&gt;" in page
    assert one not in page
    assert page.count("system/credentials/forget") == 1

    assert "No token has such a digest." in press(client, page, "credentials/revoke", digest=digest_of(one)[:16]).text
    assert "The token has ended." in press(client, page, "credentials/revoke", digest=digest_of(one)).text
    assert "user00001" not in owners(db)
    assert GONE not in press(client, page, "credentials/forget", fingerprint=GONE).text
    refused = press(client, page, "credentials/forget", fingerprint=fingerprint(KEY))
    assert (refused.status_code, "take it out there first" in refused.text) == (409, True)


def test_page_has_the_parts_that_the_permission_is_for(client: FlaskClient, db: Database) -> None:
    page = open_page(client, db, MANAGE_USERS)
    assert ("tokens create" in page, GONE in page) == (True, False)
    assert press(client, page, "credentials/forget", fingerprint=GONE).status_code == 403
    page = open_page(client, db, MANAGE_CAMPAIGNS)
    assert ("tokens create" in page, GONE in page) == (False, True)
    assert press(client, page, "credentials/revoke", digest="0" * 64).status_code == 403


def test_campaigns_are_handed_over_on_a_page(client: FlaskClient, db: Database) -> None:
    Harness(db).accept()
    with db.read() as connection:
        giver = connection.scalars(select(Campaign.caller_id)).one()
    page = open_page(client, db, MANAGE_CAMPAIGNS)

    wrong = press(client, page, "handing-over", **{"from": giver, "to": "<nobody>"})
    assert (wrong.status_code, "no user and no service called &lt;nobody&gt;" in wrong.text) == (400, True)
    assert f'value="{giver}"' in wrong.text
    done = press(client, page, "handing-over", **{"from": giver, "to": "user00002"})
    assert f"1 campaign of {giver} is now one of user00002." in done.text
    with db.read() as connection:
        assert connection.scalars(select(Campaign.caller_id)).one() == "user00002"
    assert "has a campaign" in press(client, page, "handing-over", **{"from": giver, "to": "user00002"}).text
