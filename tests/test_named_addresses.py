"""A dry run to up to five addresses that its caller names: who gets it, who does not, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, select

from app import create_app
from mailer.audience.eligibility import DEACTIVATED, UNSUBSCRIBED
from mailer.audience.named_addresses import ERASED, withheld
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft
from mailer.campaigns.invariants import examine
from mailer.campaigns.people.erasure import erase
from mailer.directory.imports import upsert_documents
from mailer.errors import InvalidState
from mailer.messages.links import NOBODY, Links
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import Campaign, Delivery, RefusedAddress, Wish
from mailer.suppression.unsubscribes import unsubscribe
from tests.calling import calling
from tests.harness import START, Harness
from tests.service import PAYLOAD

AddUsers = Callable[..., list[str]]
NOWHERE = Path("/nowhere")
TEXT = ("News", "no-reply@example.com", "Hi [fname]", "Hello [name] [unsubscribe]")


def tried_out(db: Database, *addresses: str) -> Harness:
    harness = Harness(db)
    draft = Draft(*TEXT, {}, True, test_recipients=addresses)
    harness.campaign_id = accept(db, "user00000", draft).campaign_id
    harness.run()
    return harness


def replies(db: Database, campaign_id: str) -> dict[str, tuple[str, str]]:
    columns = (Delivery.address, Delivery.status, Delivery.reply)
    with db.read() as connection:
        rows = connection.execute(select(*columns).where(Delivery.campaign_id == campaign_id)).all()
    return {row.address: (row.status, row.reply) for row in rows}


def suppress(db: Database, address: str) -> None:
    known = {"campaigns": 3, "campaign_ids": "a b c", "reply": "no", "refused_at": START, "suppressed_at": START}
    with db.write() as connection:
        connection.execute(insert(RefusedAddress), {"address": address, **known})


# --- who gets it ------------------------------------------------------------------------------------------------------


def test_each_named_address_gets_one_message_and_the_sender_none(db: Database, add_users: AddUsers) -> None:
    add_users(db, 3)
    named = ["user00001@example.com", "ann@example.org", "ben@example.org", "User00002@example.com"]
    harness = tried_out(db, *named)

    assert sorted(harness.arrived()) == sorted(named)
    assert (harness.progress().state, harness.counts()) == ("completed", {"sent": 4})
    greeted = {one.recipient: one.content.split(b"Subject: ")[1].split(b"\r\n")[0] for one in harness.store.messages}
    assert greeted["ann@example.org"] == b"Hi ann"
    assert examine(db) == []


def test_links_of_addresses_that_no_user_has_belong_to_nobody(any_db: Database, add_users: AddUsers) -> None:
    add_users(any_db, 1)
    harness = tried_out(any_db, "ann@example.org", "ben@example.org")
    ids = [f"{NOBODY}", f"{NOBODY}1"]
    assert [harness.delivery(one).status for one in ids] == ["sent", "sent"]
    settings = Settings(database_url=any_db.url, secret_key=("k" * 40,), transport="memory:")
    client = create_app(settings).test_client()

    for one in ids:
        link = Links(settings.secret_key, "http://x").link(one).removeprefix("http://x")
        assert client.post(link).status_code == 200


WITHHELD: dict[str, Callable[[Database], object]] = {
    UNSUBSCRIBED: lambda db: unsubscribe(db, "user00001"),
    "The address is suppressed: refused in 3 campaigns.": lambda db: suppress(db, "user00001@example.com"),
}


@pytest.mark.parametrize(("reason", "happens"), WITHHELD.items(), ids=["unsubscribed", "suppressed"])
def test_who_may_not_be_written_to_is_skipped_with_the_reason(
    db: Database, add_users: AddUsers, reason: str, happens: Callable[[Database], object]
) -> None:
    add_users(db, 2)
    happens(db)
    harness = tried_out(db, "USER00001@example.com", "ann@example.org")

    assert harness.arrived() == ["ann@example.org"]
    assert harness.counts() == {"sent": 1, "skipped": 1}
    assert replies(db, harness.campaign_id)["USER00001@example.com"] == ("skipped", reason)


def test_address_is_withheld_whoever_has_it(db: Database, add_users: AddUsers) -> None:
    add_users(db, 1, active=False)
    erased = {"_id": "e1", "name": "E", "emails": [{"address": "erased@example.org"}]}
    upsert_documents(db, [(1, erased)])
    erase(db, "e1", spool_path=NOWHERE)
    wish = {"kind": "address", "value": "left@example.org", "unsubscribed_at": 1, "kept_at": 1, "kept_by": "x"}
    with db.write() as connection:
        connection.execute(insert(Wish), {**wish, "source": "list"})
    suppress(db, "refused@example.org")

    asked = ["user00000@example.com", "Erased@example.org", "LEFT@example.org", "refused@example.org", "a@example.org"]
    with db.read() as connection:
        found = withheld(connection, asked)

    assert found == {
        "user00000@example.com": DEACTIVATED,
        "Erased@example.org": ERASED,
        "LEFT@example.org": UNSUBSCRIBED,
        "refused@example.org": "The address is suppressed: refused in 3 campaigns.",
    }


def test_named_person_is_erased_with_the_test_that_named_them(db: Database, add_users: AddUsers) -> None:
    add_users(db, 2)
    harness = Harness(db)
    draft = Draft(*TEXT, {}, True, test_recipients=["user00001@example.com", "ann@example.org"])
    harness.campaign_id = accept(db, "user00000", draft).campaign_id
    with pytest.raises(InvalidState, match=harness.campaign_id):
        erase(db, "user00001", spool_path=NOWHERE)
    harness.run()

    erase(db, "user00001", spool_path=NOWHERE)

    with db.read() as connection:
        assert connection.scalar(select(Campaign.test_recipients)) is None
        assert connection.scalars(select(Delivery.address)).all() == [None, None]


# --- the request ------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(any_db: Database, add_users: AddUsers) -> Iterator[FlaskClient]:
    add_users(any_db, 2)
    with calling(any_db) as made:
        yield made


TAKEN = {
    "list": (["a@Example.org", "b@example.org"], ["a@example.org", "b@example.org"]),
    "text": ("a@example.org, b@example.org", ["a@example.org", "b@example.org"]),
    "one": ("a@example.org", ["a@example.org"]),
    "the same twice": (["a@example.org", "A@example.org"], ["a@example.org"]),
    "other letters": (["a@münchen.example"], ["a@xn--mnchen-3ya.example"]),
}


@pytest.mark.parametrize(("given", "kept"), TAKEN.values(), ids=TAKEN)
def test_addresses_are_kept_in_their_envelope_form(client: FlaskClient, given: Any, kept: list[str]) -> None:
    answer = client.post("/api/v1/mailer", json={**PAYLOAD, "dryrun": True, "to": given})

    assert (answer.status_code, answer.json) == (200, {"success": True})
    assert client.get(f"{answer.headers['Location']}/message").json["message"]["to"] == kept


def test_form_has_them_too(client: FlaskClient) -> None:
    answer = client.post("/api/v1/mailer", data={**PAYLOAD, "dryrun": "true", "to": "a@example.org,b@example.org"})

    assert client.get(f"{answer.headers['Location']}/message").json["message"]["to"] == TAKEN["list"][1]


def test_campaign_without_them_tells_null(client: FlaskClient) -> None:
    answer = client.post("/api/v1/mailer", json={**PAYLOAD, "dryrun": True})

    assert client.get(f"{answer.headers['Location']}/message").json["message"]["to"] is None


SIX = [f"a{number}@example.org" for number in range(6)]
REFUSED = [None, "", " ", ",", [], [""], [None], [5], 5, True, {}, "nobody", ["a@b.org", "nobody"], "a@b.org,", SIX]
REFUSED += [",".join(SIX), "Ann <a@b.org>", ["a@b.org\r\nBcc: x@y.org"], "a@b.org; c@d.org", ["a@b.org, c@d.org"]]


def test_anything_else_is_refused_and_the_field_named(client: FlaskClient) -> None:
    for value in REFUSED:
        answer = client.post("/api/v1/mailer", json={**PAYLOAD, "dryrun": True, "to": value})
        assert (answer.status_code, answer.json["details"]["field"]) == (400, "to"), value
    assert client.get("/api/v1/mailer/campaigns").json["total"] == 0


@pytest.mark.parametrize("dryrun", [False, "false", None])
def test_campaign_that_is_no_dry_run_cannot_name_anybody(client: FlaskClient, dryrun: object) -> None:
    answer = client.post("/api/v1/mailer", json={**PAYLOAD, "dryrun": dryrun, "to": ["a@example.org"]})

    assert (answer.status_code, answer.json["details"]["field"]) == (400, "to")
    assert client.post("/api/v1/mailer", json={**PAYLOAD, "to": ["a@example.org"]}).status_code == 400
    assert client.get("/api/v1/mailer/campaigns").json["total"] == 0


def test_list_takes_a_state_and_a_time(client: FlaskClient) -> None:
    client.post("/api/v1/mailer", json=PAYLOAD)

    def total(**asked: str) -> int:
        found: int = client.get("/api/v1/mailer/campaigns", query_string=asked).json["total"]
        return found

    assert (total(since="2020-01-01"), total(since="2100-01-01")) == (1, 0)
    assert (total(since="2020-01-01", state="accepted"), total(state="paused")) == (1, 0)
    assert client.get("/api/v1/mailer/campaigns?since=soon").json["details"]["field"] == "since"
