"""Whatever stands in the address of a page, it is answered by a page: nothing in it is a defect of the service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import insert

from app import create_app
from mailer.callers.tokens import PERMISSIONS
from mailer.campaigns import saved_drafts
from mailer.selector import database_at
from mailer.settings import Settings
from mailer.storage.models import User
from tests.conftest import user_row
from tests.harness import Harness
from tests.test_signed_in_pages import sign_in, token_of

pytestmark = [pytest.mark.slow, pytest.mark.ci]

NASTY = (
    "\0",
    "%",
    "\ud800",
    "9" * 30,
    "9" * 19,
    "-1",
    "\"'><script>alert(1)</script>",
    "x" * 3000,
    "../..",
    "٣",
    "😀",
    "a\r\nX-Y: z",
    "",
)
NAMES = (
    "q",
    "before",
    "after",
    "state",
    "status",
    "campaign",
    "user",
    "format",
    "view",
    "width",
    "scheme",
    "look",
    "next",
)
NAMES += (
    "who",
    "act",
    "about",
    "since",
    "erased",
    "addresses",
    "from-campaign",
    "reached",
    "not-reached",
    "now",
    "images",
)


def encoded(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


@pytest.fixture(scope="module")
def signed_in(module_database_url: str) -> Iterator[tuple[Flask, FlaskClient, dict[str, str]]]:
    db = database_at(module_database_url)
    with db.write() as connection:
        connection.execute(insert(User), [user_row(number) for number in range(3)])
    harness = Harness(db)
    campaign_id = harness.accept()
    harness.run()
    draft = saved_drafts.new_id()
    saved_drafts.save(db, "user00000", draft, saved_drafts.Typed("a@example.com", "", "-", "[unsubscribe]", ""), 0)
    settings = Settings(
        database_url=db.url, secret_key=("k" * 40,), transport="memory:", rate_limit="", audience_rate_limit=""
    )
    app = create_app(settings)
    client = app.test_client()
    sign_in(client, "user00000", token_of(db, "user00000", *PERMISSIONS))
    yield app, client, {"campaign_id": campaign_id, "draft_id": draft, "user_id": "user00001", "int:number": "1"}
    db.close()


def rules(app: Flask) -> list[str]:
    found = {one.rule for one in app.url_map.iter_rules() if "GET" in (one.methods or ())}
    return sorted(one for one in found if one.startswith("/mailer/") and "static" not in one and "/api/" not in one)


def test_no_parameter_of_a_page_is_a_defect(signed_in: tuple[Flask, FlaskClient, dict[str, str]]) -> None:
    app, client, values = signed_in
    for rule in rules(app):
        place = re.sub("<(.*?)>", lambda found: values.get(found[1], "x"), rule)
        for nasty in NASTY:
            query = "&".join(f"{name}={encoded(nasty)}" for name in NAMES)
            answer = client.get(f"{place}?{query}")
            assert answer.status_code < 500, (place, nasty)
            assert "<script>alert" not in answer.text
            assert "X-Y" not in answer.headers


def test_no_part_of_a_path_is_a_defect(signed_in: tuple[Flask, FlaskClient, dict[str, str]]) -> None:
    app, client, _ = signed_in
    for rule in rules(app):
        if "<" not in rule:
            continue
        for nasty in filter(None, NASTY):
            answer = client.get(re.sub("<.*?>", lambda _: encoded(nasty), rule))  # noqa: B023 - called at once
            assert answer.status_code < 500, (rule, nasty)
            assert "<script>alert" not in answer.text
            assert answer.status_code in (200, 303) or answer.mimetype == "text/html", (rule, nasty)
