"""What is probably a slip in a campaign, told and not refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from mailer.callers.tokens import Tokens
from mailer.campaigns.checks.lint import EMPTY, MAX_OF_A_KIND, about_directory, about_placeholders
from mailer.directory.imports import upsert_documents
from mailer.selector import fields_of
from mailer.settings import Settings
from mailer.settings.return_address import ReturnAddress
from mailer.storage.database import Database
from tests.dkim_keys import ed25519_pem, write_key


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({}, ()),
        ({"roles": "user", "name": "x", "$comment": "y"}, ("roles", "name")),
        ({"$or": [{"a": 1}, {"$and": [{"b.c": 2}, {"a": 3}]}]}, ("a", "b.c")),
        ({"a": {"$not": {"$gt": 3}}, "$nor": [{"b": {"$exists": False}}]}, ("a", "b")),
        (
            {"emails": {"$elemMatch": {"address": "x", "$or": [{"seen": 1}]}}},
            ("emails", "emails.address", "emails.seen"),
        ),
        ({"roles": {"$elemMatch": {"$gt": "a"}}}, ("roles",)),
        ({"roles": {"$all": ["a", "b"]}}, ("roles",)),
    ],
)
def test_fields_that_a_query_asks_for(query: dict[str, Any], fields: tuple[str, ...]) -> None:
    assert sorted(fields_of(query)) == sorted(fields)


def test_empty_directory_is_said_to_be_empty(db: Database) -> None:
    assert about_directory(db, {}) == (EMPTY,)
    assert about_directory(db, {"nothing": 1}) == (EMPTY,)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"roles": "nobody", "emails.address": "x", "emails.0.verified": True, "createdAt": 3}, ()),
        ({"role": "x"}, ('No user has the field "role"; did you mean "roles"?',)),
        ({"xyzzy": {"$ne": "x"}}, ('No user has the field "xyzzy".',)),
        ({"emails": {"$elemMatch": {"adress": "x"}}}, ('"emails.adress"; did you mean "emails.address"?',)),
        ({"customFields.plan": "x", "name": "y"}, ('No user has the field "customFields.plan".',)),
    ],
)
def test_fields_that_no_user_has_are_named(
    db: Database, add_users: Callable[..., Any], query: dict[str, Any], told: tuple[str, ...]
) -> None:
    add_users(db, 3)
    found = about_directory(db, query)
    assert len(found) == len(told)
    assert all(expected in one for expected, one in zip(told, found, strict=True))


def test_nearest_is_a_field_that_the_users_have(db: Database) -> None:
    upsert_documents(db, [(1, {"_id": "ada", "customFields": {"department": "sales"}})])
    told = about_directory(db, {"customFields.departement": "sales"})
    assert told == ('No user has the field "customFields.departement"; did you mean "customFields.department"?',)


def test_field_of_one_who_is_not_written_to_is_had(db: Database, add_users: Callable[..., Any]) -> None:
    add_users(db, 1, active=False)
    assert about_directory(db, {"roles": "user"}) == ()


def test_words_in_brackets_are_told_up_to_a_number() -> None:
    words = " ".join(f"[word_{chr(97 + n)}]" for n in range(MAX_OF_A_KIND + 3))
    told = about_placeholders("Hi [fname]", words)
    assert told[0] == "[word_a] is no placeholder and goes out as it stands."
    assert (len(told), told[-1]) == (MAX_OF_A_KIND + 1, "3 more words in brackets are no placeholders.")


@pytest.fixture
def post(db: Database, add_users: Callable[..., Any]):
    """POST to the API as the first user."""
    add_users(db, 2)
    app = create_app(Settings(database_url=db.url, secret_key=("k" * 40,), rate_limit="", transport="memory:"))
    headers = {"X-User-Id": "user00000", "X-Auth-Token": Tokens(db).create("user00000", ("send-mail",))}
    client = app.test_client()
    yield lambda path, **body: client.post(f"/api/v1/{path}", json=body, headers=headers)
    app.extensions["mailer"].db.close()


LETTER = {"from": "news@example.com", "subject": "Hi [fnam]", "body": "[unsubscribe] [ünsubscribe]"}
TOLD = [
    "[fnam] is no placeholder and goes out as it stands; did you mean [fname]?",
    "[ünsubscribe] is no placeholder and goes out as it stands; did you mean [unsubscribe]?",
]


def test_api_names_slips_and_takes_the_campaign_all_the_same(post) -> None:
    asked = post("mailer/audience", query='{"role": 1}', subject=LETTER["subject"], body=LETTER["body"]).json
    assert asked["warnings"] == ['No user has the field "role"; did you mean "roles"?', *TOLD]
    assert post("mailer/preview", **LETTER).json["warnings"] == TOLD
    sent = post("mailer", **LETTER)
    assert sent.json == {"success": True}
    assert sent.headers["Mailer-Warning"] == " ".join(TOLD).replace("ü", r"\xfc")


def test_api_has_nothing_to_say_of_a_campaign_without_slips(post) -> None:
    letter = {**LETTER, "subject": "Hi [fname]", "body": "[unsubscribe]"}
    assert post("mailer/audience", query='{"roles": "user"}').json["warnings"] == []
    assert post("mailer/preview", **letter).json["warnings"] == []
    assert "Mailer-Warning" not in post("mailer", **letter).headers


APART = (
    "Bounces go to relay.net, so SPF does not count for mail From example.com (DMARC): sign it with DKIM as that "
    "domain, or take bounces there"
)
UNSIGNED = "Nothing signs for example.com: the DKIM key is for news.example.com."


@pytest.mark.parametrize(
    ("bounces", "transport", "told"),
    [
        ("bounce+{token}@relay.net", "memory:", [APART]),
        ("bounce+{token}@mail.example.com", "memory:", []),
        ("bounce+{token}@relay.net", "dkim:(memory:)?key_file=KEY&selector=s&domain=example.com", []),
        (None, "memory:", []),
        (None, "dkim:(memory:)?key_file=KEY&selector=s&domain=news.example.com", [UNSIGNED]),
    ],
    ids=["elsewhere", "below", "signed", "none", "no key"],
)
def test_api_says_where_the_sender_is_not_aligned_with_the_envelope(
    db: Database, add_users: Callable[..., Any], tmp_path: Path, bounces: str | None, transport: str, told: list[str]
) -> None:
    add_users(db, 1)
    settings = Settings(
        database_url=db.url,
        secret_key=("k" * 40,),
        rate_limit="",
        transport=transport.replace("KEY", str(write_key(tmp_path / "key.pem", ed25519_pem()))),
        bounce_address=ReturnAddress.parse(bounces) if bounces else None,
    )
    headers = {"X-User-Id": "user00000", "X-Auth-Token": Tokens(db).create("user00000", ("send-mail",))}
    app = create_app(settings)
    letter = {**LETTER, "subject": "Hi [fname]", "body": "[unsubscribe]"}

    previewed = app.test_client().post("/api/v1/mailer/preview", json=letter, headers=headers)
    sent = app.test_client().post("/api/v1/mailer", json=letter, headers=headers)

    assert previewed.json["warnings"] == told
    assert sent.headers.get("Mailer-Warning", "") == " ".join(told)
    campaign = app.test_client().get(sent.headers["Location"], headers=headers).json["campaign"]
    assert campaign["warnings"] == told
    app.extensions["mailer"].db.close()
