"""Somebody is erased: nothing of them is left in any column, nothing brings them back, and the sums stay."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, Text, func, insert, select
from sqlalchemy.dialects.postgresql import JSONB

from mailer.audit.log import Act, Note, digest_of, entries, names_of, old_digest_of, record, record_addresses
from mailer.callers.tokens import Tokens
from mailer.campaigns import control
from mailer.campaigns.export import count_erased as erased_in
from mailer.campaigns.invariants import examine
from mailer.campaigns.people.actions import Action, act
from mailer.campaigns.people.erasure import ErasedPerson, erase
from mailer.campaigns.people.mentions.spellings import GONE
from mailer.campaigns.people.outcomes import page_of_outcomes
from mailer.delivery.checkpoints.outcomes import ERASED
from mailer.directory.changes import Mode, derived_id, old_derived_id
from mailer.directory.imports import ImportOptions, import_users, upsert_documents
from mailer.directory.users import patch_user, put_user
from mailer.errors import InvalidState, NotFound, WasErased
from mailer.mailbox.arriving import KeptTransport
from mailer.mailbox.sorting import sort_in_all
from mailer.mailbox.store import MailboxStore
from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.erased.key import Of, digest, key_of, known_key, made_key
from mailer.storage.erased.people import count_erased
from mailer.storage.models import (
    Base,
    Campaign,
    Delivery,
    Erased,
    MailboxMessage,
    PageSession,
    RefusedAddress,
    SavedDraft,
    User,
    Wish,
)
from mailer.suppression import wishes
from mailer.suppression.blocked_addresses import block
from mailer.suppression.list_files import ListedAddress, ListedPerson
from mailer.suppression.unsubscribe_lists import unsubscribe_listed
from mailer.suppression.unsubscribes import resubscribe, unsubscribe
from mailer.workspace.client import Workspace
from mailer.workspace.sync import sync_users
from tests.drills import rounds
from tests.fake_workspace import FakeWorkspace, member
from tests.harness import Harness
from transports.base import Message, Outcome, Status
from transports.memory import MemoryTransport

ID, SPELLED = "u-4711", "Quinta.Zorilla@Example.NET"
ADDRESS, SECOND, FORMER = "Quinta.Zorilla@example.net", "qz@second.example", "zorilla@old.example"
DOCUMENT: dict[str, Any] = {
    "_id": ID,
    "username": "qzorilla",
    "name": "Quinta Zorilla",
    "emails": [{"address": SPELLED, "verified": True}, {"address": SECOND}],
    "customFields": {"phone": "555-0199-QZ"},
}
TRACES = ("quinta", "zorilla", SECOND, FORMER, "555-0199-qz")
NOWHERE = Path("/nonexistent/sync.ndjson")


def text_columns() -> Iterator[tuple[Any, Any]]:
    for table in Base.metadata.tables.values():
        yield from ((table, column) for column in table.columns if isinstance(column.type, Text | JSON | JSONB))


def left(db: Database, *traces: str) -> list[str]:
    """Where any of `traces` stands, in whatever case, in any text or JSON of any table."""
    found = []
    with db.read() as connection:
        for table, column in text_columns():
            for (value,) in connection.execute(select(column).where(column.is_not(None))):
                text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                found += [f"{table.name}.{column.name}: {one}" for one in traces or TRACES if one in text.lower()]
    return found


def bring(db: Database, *documents: Any, mode: Mode = Mode.MERGE) -> Any:
    return upsert_documents(db, list(enumerate(documents, 1)), ImportOptions(mode))


def user(db: Database, user_id: str = ID) -> Any:
    with db.read() as connection:
        return connection.execute(select(User.name, User.email).where(User.id == user_id)).one_or_none()


def sent_campaign(db: Database, **changes: Any) -> Harness:
    harness = Harness(db)
    harness.accept(changes.pop("query", None))
    if changes:
        with db.write() as connection:
            connection.execute(Campaign.__table__.update().values(**changes))
    harness.run()
    return harness


def keep(db: Database, *addresses: str) -> None:
    """Send them messages that go into the mailbox."""
    transport = KeptTransport(MemoryTransport(), MailboxStore(db, 100))
    content = b"From: n@example.com\r\nSubject: x\r\n\r\nx\r\n"
    messages = [Message(f"c.{number}", "n@example.com", one, content) for number, one in enumerate(addresses)]
    assert {outcome.status for outcome in transport.send(messages)} == {Status.SENT}


def kept(db: Database) -> list[str]:
    with db.read() as connection:
        return list(connection.scalars(select(MailboxMessage.recipient)))


def test_nothing_is_left_of_an_erased_person_in_any_column(
    db: Database, add_users: Callable[..., list[str]], tmp_path: Path
) -> None:
    """They are in every table that there is before: the test says so itself."""
    add_users(db, 3)
    bring(db, {**DOCUMENT, "emails": [{"address": FORMER}]})
    first = sent_campaign(db, sender_name="Quinta Zorilla", sender=FORMER, reply_to=FORMER, reply_to_name="Zorilla")
    unsubscribe(db, ID)
    bring(db, DOCUMENT)  # they leave the address with a wish
    act(db, ID, Action.SUBSCRIBE, "Zorilla wrote from qz@second.example that she wants mail")
    query = {"$or": [{"emails.address": {"$in": [SPELLED, "ü@x.example"]}}, {"_id": "user00001"}]}
    second = sent_campaign(db, query=query)
    act(db, ID, Action.BLOCK, "asked by telephone")
    Tokens(db).create(ID, ["send-mail"])
    with db.write() as connection:
        session = {"digest": "d", "user_id": ID, "created_at": 1, "expires_at": 2}
        connection.execute(insert(PageSession), session)
        before_keys = {"at": 1, "who": "x", "via": "cli", "origin": "h", "act": "lift-addresses", "details": {}}
        row = {**before_keys, "about": old_digest_of(ADDRESS.lower())}
        connection.execute(Base.metadata.tables["audit_log"].insert(), row)
        reason = f"2 of the last 5 refusals say the same: 550 <{ADDRESS}>"
        connection.execute(Campaign.__table__.update().where(Campaign.id == second.campaign_id).values(reason=reason))
        link = {"digest": "l", "user_id": ID, "permissions": ["send-mail"], "created_at": 1, "expires_at": 2}
        connection.execute(Base.metadata.tables["login_links"].insert(), link)
        for caller in (ID, "user00001"):
            said = {"sender": "n@example.com", "query": json.dumps({"emails.address": ADDRESS})}
            times = {"version": 1, "created_at": 1, "saved_at": 1}
            draft = {"id": f"d {caller}", "caller_id": caller, "subject": f"For {ADDRESS}", "said": said, **times}
            connection.execute(Base.metadata.tables["drafts"].insert(), draft)
        hold = {"id": 1, "reason": f"{ADDRESS} complained", "since": 1, "held_by": "x"}
        connection.execute(Base.metadata.tables["sending_hold"].insert(), hold)
    spool = tmp_path / "sync.ndjson"
    spool.write_text(json.dumps(DOCUMENT))
    places = {found.partition(":")[0] for found in left(db)}
    assert places >= {
        *("users.document", "users.name", "users.email", "users.username", "deliveries.address", "campaigns.sender"),
        *("campaigns.sender_name", "campaigns.reply_to", "campaigns.query", "campaigns.reason", "person_notes.note"),
        *("refused_addresses.address", "sending_hold.reason", "drafts.subject", "drafts.said"),
    }
    keep(db, ADDRESS, SECOND)
    sort_in_all(db, None)
    keep(db, ADDRESS)  # it is packed when they are erased
    assert len(kept(db)) == 2

    assert erase(db, ID, spool_path=spool) == ErasedPerson(ID, 2)

    assert left(db) == []
    assert kept(db) == []
    keep(db, ADDRESS, "a@example.com")  # it was on its way
    sort_in_all(db, None)
    assert kept(db) == ["a@example.com"]
    with db.read() as connection:
        drafts = connection.execute(select(SavedDraft.id, SavedDraft.subject, SavedDraft.version)).all()
        assert drafts == [("d user00001", f"For {GONE}", 2)]
    assert left(db, old_digest_of(ADDRESS.lower()).removeprefix("sha256:")) == []
    assert user(db) is None
    assert spool.read_text() == ""
    assert Tokens(db).list() == []
    about = [one.act for one in entries(db, about=names_of(db, ADDRESS))]
    assert about == ["lift-addresses", "block-addresses"]  # who has the address in hand still finds what was done
    assert [one.about for one in entries(db, act=Act.ERASE_USER)] == [ID]
    for harness in (first, second):
        assert harness.delivery(ID).status == "sent"
        assert harness.delivery(ID).reply == ERASED
        assert harness.progress().planned == harness.progress().sent
        assert erased_in(db, harness.campaign_id) == 1
    with db.read() as connection:
        asked = connection.scalar(select(Campaign.query).where(Campaign.id == second.campaign_id))
        subject = connection.scalar(select(Campaign.subject).where(Campaign.id == first.campaign_id))
    assert asked["$or"][0] == {"emails.address": {"$in": [GONE, "ü@x.example"]}}
    assert subject == ""  # what was sent as them is forgotten, as a purge forgets it
    assert examine(db) == []


def test_wishes_of_addresses_that_were_left_go_too(db: Database) -> None:
    bring(db, {**DOCUMENT, "emails": [{"address": FORMER}]})
    unsubscribe(db, ID)
    bring(db, DOCUMENT)
    assert [one.address for one in wishes.kept_wishes(db)] == [FORMER]
    erase(db, ID, spool_path=NOWHERE)
    assert wishes.kept_wishes(db) == []
    assert bring(db, {"_id": "new", "emails": [{"address": FORMER}]}).erased == 1


BACK: dict[str, Callable[[Database, Path], int]] = {
    "merged, by id": lambda db, _: bring(db, {"_id": ID, "name": "Quinta"}).erased,
    "replaced, by id": lambda db, _: bring(db, DOCUMENT, mode=Mode.REPLACE).erased,
    "by the address under another id": lambda db, _: bring(db, {**DOCUMENT, "_id": "other"}).erased,
    "by the second address": lambda db, _: bring(db, {"_id": "o", "emails": [{"address": SECOND.upper()}]}).erased,
    "by an address behind another": lambda db, _: (
        bring(db, {"_id": "o", "emails": [{"address": "x@x.example"}, {"address": ADDRESS}]}).erased
    ),
    "a known user who gets the address": lambda db, _: (
        bring(db, {"_id": "user00001", "emails": [{"address": f" <{ADDRESS}> "}]}).erased
    ),
    "a table without ids": lambda db, folder: table(db, folder, f"name,email\nQuinta,{ADDRESS}\n"),
    "a table with the id": lambda db, folder: table(db, folder, f"_id,name\n{ID},Quinta\n"),
    "a sync": lambda db, folder: synced(db, folder / "sync.ndjson"),
    "a list of the unsubscribed, by address": lambda db, _: listed(db, ListedPerson(None, ADDRESS)),
    "a list of the unsubscribed, by id": lambda db, _: listed(db, ListedPerson(ID, "quinta@elsewhere.example")),
    "a list of addresses": lambda db, _: block(db, [ListedAddress(ADDRESS)], by="x", reason="y").erased,
}


def table(db: Database, folder: Path, text: str) -> int:
    path = folder / "users.csv"
    path.write_text(text)
    return import_users(db, path).erased


def synced(db: Database, spool: Path) -> int:
    theirs = {**member("quinta"), **DOCUMENT}
    with FakeWorkspace(theirs, member("other")) as fake:
        return sync_users(db, Workspace(fake.url, "admin", "secret"), spool).erased


def listed(db: Database, person: ListedPerson) -> int:
    return unsubscribe_listed(db, [person], by="x", source="a list").erased


@pytest.mark.parametrize("come_back", BACK.values(), ids=BACK)
def test_nothing_brings_an_erased_person_back(
    db: Database, add_users: Callable[..., list[str]], tmp_path: Path, come_back: Callable[[Database, Path], int]
) -> None:
    add_users(db, 2)
    bring(db, DOCUMENT)
    erase(db, ID, spool_path=NOWHERE)
    for _ in range(2):
        assert come_back(db, tmp_path) == 1
    assert left(db) == []
    assert left(db, "quinta@elsewhere.example") == []
    with db.read() as connection:
        assert not connection.scalars(select(User.id).where(User.id.in_([ID, "o"]))).all()
    assert user(db, "user00001").email == "user00001@example.com"


@pytest.mark.parametrize(
    ("user_id", "document"),
    [(ID, {"name": "Quinta"}), ("other", DOCUMENT["emails"]), ("user00001", DOCUMENT["emails"])],
    ids=["by id", "by address", "a known user"],
)
def test_request_that_would_bring_an_erased_person_back_is_refused(
    db: Database, add_users: Callable[..., list[str]], user_id: str, document: Any
) -> None:
    add_users(db, 2)
    bring(db, DOCUMENT)
    erase(db, ID, spool_path=NOWHERE)
    given = document if isinstance(document, dict) else {"emails": document}
    with pytest.raises(WasErased):
        put_user(db, user_id, given)
    with pytest.raises((WasErased, NotFound)):
        patch_user(db, user_id, given)
    assert left(db) == []


def test_person_erased_while_a_file_is_read_does_not_come_back(db: Database) -> None:
    bring(db, DOCUMENT)

    def documents() -> Iterator[tuple[int, object]]:
        yield 1, {**DOCUMENT, "name": "Quinta Z."}
        yield from ((number, {"_id": f"n{number}"}) for number in range(2, 500))  # more than are looked up together
        erase(db, ID, spool_path=NOWHERE)

    result = upsert_documents(db, documents())
    assert (result.erased, result.created) == (1, 498)
    assert left(db) == []


def test_erased_twice_or_never_there_is_not_found(db: Database) -> None:
    bring(db, DOCUMENT)
    erase(db, "qzorilla", spool_path=NOWHERE)  # by user name
    for name in (ID, "qzorilla", "nobody"):
        with pytest.raises(NotFound):
            erase(db, name, spool_path=NOWHERE)
    assert count_erased(db) == 1


class Erasing(MemoryTransport):
    """Has somebody erased while their message is in its hands."""

    def __init__(self, db: Database) -> None:
        super().__init__()
        self.db = db

    def send(self, messages: Any) -> Iterator[Outcome]:
        """Erase the person as soon as their message comes."""

        def watched() -> Iterator[Message]:
            for message in messages:
                if message.recipient == ADDRESS:
                    erase(self.db, ID, spool_path=NOWHERE)
                yield message

        yield from super().send(watched())


@pytest.mark.parametrize("answer", [Status.SENT, Status.REFUSED, Status.DEFERRED])
def test_person_erased_while_their_message_is_sent_leaves_an_outcome_without_a_trace(
    db: Database, add_users: Callable[..., list[str]], answer: Status
) -> None:
    add_users(db, 8)
    bring(db, DOCUMENT)
    transport = Erasing(db)
    transport.store.answer(ADDRESS, answer)
    harness = Harness(db, transport, suppress_after=1)
    harness.accept()
    harness.run()
    harness.now += 120_000
    harness.run()
    assert left(db) == []
    expected = {Status.SENT: "sent", Status.REFUSED: "failed", Status.DEFERRED: "skipped"}[answer]
    assert harness.delivery(ID).status == expected
    assert harness.delivery(ID).due_at is None
    assert sum(harness.counts().values()) == harness.progress().planned == 9
    assert examine(db) == []


def test_person_erased_before_their_turn_is_skipped_from_the_next_checkpoint_on(
    db: Database, add_users: Callable[..., list[str]]
) -> None:
    add_users(db, 8)
    bring(db, {**DOCUMENT, "_id": "user00006x"})

    class ErasingEarly(MemoryTransport):
        def send(self, messages: Any) -> Iterator[Outcome]:
            given = list(messages)
            if given and given[0].recipient == "user00000@example.com":
                erase(db, "user00006x", spool_path=NOWHERE)
            yield from super().send(iter(given))

    harness = Harness(db, ErasingEarly())
    harness.accept()
    harness.run()
    assert harness.delivery("user00006x").status == "skipped"
    assert harness.counts() == {"sent": 8, "skipped": 1}
    assert harness.progress().planned == 9
    assert left(db) == []


def test_deferred_person_who_is_erased_is_skipped_and_the_campaign_ends(
    db: Database, add_users: Callable[..., list[str]]
) -> None:
    add_users(db, 4)
    bring(db, DOCUMENT)
    harness = Harness(db)
    harness.store.answer(ADDRESS, Status.DEFERRED)
    harness.accept()
    harness.run()
    assert harness.counts() == {"sent": 4, "deferred": 1}
    erase(db, ID, spool_path=NOWHERE)
    assert harness.counts() == {"sent": 4, "deferred": 1}
    harness.now += 600_000
    harness.run()
    assert harness.counts() == {"sent": 4, "skipped": 1}
    assert harness.progress().state == "completed"
    assert examine(db) == []


def test_failed_person_who_is_erased_is_skipped_when_the_failed_are_tried_again(db: Database) -> None:
    bring(db, DOCUMENT, {"_id": "a", "emails": [{"address": "a@x.example"}]})
    harness = Harness(db)
    harness.store.answer(ADDRESS, Status.REFUSED)
    harness.accept()
    harness.run()
    erase(db, ID, spool_path=NOWHERE)
    assert control.retry_failed(db, harness.campaign_id) == 1
    harness.run()
    assert harness.counts() == {"sent": 1, "skipped": 1}
    assert left(db) == []


def test_erasure_waits_for_a_checkpoint_that_records_the_first_outcome(
    postgresql_url: str, add_users: Callable[..., list[str]]
) -> None:
    """On SQLite there is one writer at a time anyway. Without the wait, the outcome would keep the address."""
    db = database_at(postgresql_url)
    add_users(db, 2)
    bring(db, DOCUMENT)
    harness = Harness(db)
    harness.accept()
    harness.plan()
    claim = harness.outbox.claim()
    assert claim is not None
    outcome = {"batch": 0, "status": "sent", "address": ADDRESS, "attempts": 1, "uncertain_attempts": 0}
    outcome |= {"reply": f"250 <{ADDRESS}> ok", "first_at": 1, "updated_at": 1, "due_at": None}
    erasing = threading.Thread(target=lambda: erase(db, ID, spool_path=NOWHERE))
    with db.write() as connection:
        connection.execute(Base.metadata.tables["batches"].update().values(takeovers=0))
        erasing.start()
        erasing.join(1)
        assert erasing.is_alive()
        row = {**outcome, "campaign_id": harness.campaign_id, "user_id": ID}
        connection.execute(insert(Delivery), row)
    erasing.join(30)
    assert not erasing.is_alive()
    assert left(db) == []
    assert harness.delivery(ID).status == "sent"
    db.close()


SAYING = {
    "sender": {"sender": ADDRESS.lower()},
    "answers": {"reply_to": ADDRESS.upper()},
    "body": {"body": f"Ask {ADDRESS}. [unsubscribe]"},
    "subject": {"subject": f"From {ADDRESS}"},
}


@pytest.mark.parametrize("said", SAYING.values(), ids=SAYING)
def test_nobody_is_erased_while_a_campaign_that_says_their_address_is_not_over(
    db: Database, said: dict[str, str]
) -> None:
    bring(db, DOCUMENT)
    harness = Harness(db)
    harness.accept({"_id": "nobody"})
    with db.write() as connection:
        connection.execute(Campaign.__table__.update().values(**said))
    with pytest.raises(InvalidState, match=harness.campaign_id):
        erase(db, ID, spool_path=NOWHERE)
    assert user(db).name == "Quinta Zorilla"
    assert count_erased(db) == 0
    control.cancel(db, harness.campaign_id)
    erase(db, ID, spool_path=NOWHERE)
    assert left(db) == []


def test_address_that_only_looks_similar_is_left_alone(db: Database) -> None:
    bring(
        db,
        {"_id": "a", "emails": [{"address": "da@x.example"}]},
        {"_id": "b", "emails": [{"address": "ada@x.example"}]},
    )
    harness = sent_campaign(db, query={"emails.address": {"$in": ["da@x.example", "ada@x.example"]}})
    erase(db, "a", spool_path=NOWHERE)
    with db.read() as connection:
        query = connection.scalar(select(Campaign.query).where(Campaign.id == harness.campaign_id))
    assert query == {"emails.address": {"$in": [GONE, "ada@x.example"]}}


def test_who_shares_the_address_of_an_erased_person_stays_and_is_imported_again(db: Database) -> None:
    other = {"_id": "b", "name": "Bo", "emails": [{"address": ADDRESS}]}
    bring(db, DOCUMENT, other)
    erase(db, ID, spool_path=NOWHERE)
    assert user(db, "b").email is not None
    for mode in Mode:
        assert bring(db, {**other, "name": "Bob"}, mode=mode).erased == 0
    assert user(db, "b").name == "Bob"
    put_user(db, "b", {**other, "name": "Bo"})
    assert bring(db, {**other, "_id": "c"}).erased == 1
    harness = Harness(db)
    harness.accept()
    harness.run()
    assert harness.arrived() == [ADDRESS]

    merged = Harness(db, merge_addresses=True)  # one message for all at an address, where one wants none
    merged.accept()
    merged.run()
    assert merged.arrived() == []

    bring(db, {**other, "emails": [{"address": "bo@x.example"}]})  # nobody has it now: the hash alone is left
    with db.read() as connection:
        assert connection.scalars(select(Wish.value)).all() == []
    assert bring(db, other).erased == 1


def test_address_that_an_erased_person_had_before_and_somebody_has_now_is_theirs(db: Database) -> None:
    bring(db, {**DOCUMENT, "emails": [{"address": FORMER}]})
    sent_campaign(db)
    bring(db, DOCUMENT, {"_id": "b", "emails": [{"address": FORMER}]})
    erase(db, ID, spool_path=NOWHERE)
    assert bring(db, {"_id": "c", "emails": [{"address": FORMER}]}).erased == 0


def test_link_in_an_old_message_unsubscribes_and_brings_nobody_back(db: Database) -> None:
    bring(db, DOCUMENT)
    erase(db, ID, spool_path=NOWHERE)
    assert unsubscribe(db, ID)
    assert not resubscribe(db, ID)
    assert not unsubscribe(db, "nobody")
    assert left(db) == []
    assert bring(db, DOCUMENT).erased == 1


def test_key_is_made_once_and_a_text_has_another_hash_for_another_purpose(db: Database) -> None:
    with db.read() as connection:
        assert known_key(connection) is None
    key = key_of(db)
    with db.write() as connection:
        assert made_key(connection) == key_of(db) == key
    assert len(key) == 32
    assert len({digest(key, of, "a@x.example") for of in Of}) == len(Of)
    assert digest(b"another key", Of.USER, "a") != digest(key, Of.USER, "a")


def test_ids_and_digests_made_of_an_address_cannot_be_guessed_without_the_key(db: Database, tmp_path: Path) -> None:
    table(db, tmp_path, f"name,email\nQuinta,{ADDRESS}\n")
    with db.write() as connection:
        record_addresses(connection, 1, Act.LIFT_ADDRESSES, [ADDRESS.lower()])
        (made,) = connection.scalars(select(User.id)).all()
    key = key_of(db)
    address = ADDRESS.lower()
    assert made == derived_id(key, address) != derived_id(b"other", address)
    assert made != old_derived_id(address)
    (entry,) = entries(db, act=Act.LIFT_ADDRESSES)
    assert entry.about == digest_of(key, address) != digest_of(b"other", address)
    assert old_digest_of(address)[7:27] not in str(entry)


def test_who_has_an_id_from_before_there_was_a_key_keeps_it(db: Database, tmp_path: Path) -> None:
    old = old_derived_id(ADDRESS.lower())
    bring(db, {"_id": old, "name": "Quinta", "emails": [{"address": "moved@x.example"}]})
    table(db, tmp_path, f"name,email\nQuinta Z.,{ADDRESS}\n")
    with db.read() as connection:
        assert connection.execute(select(User.id, User.name)).all() == [(old, "Quinta Z.")]


def test_note_of_an_act_is_masked_and_goes_with_the_person(db: Database) -> None:
    bring(db, DOCUMENT)
    with db.write() as connection:
        record(connection, 1, Act.UNSUBSCRIBE, ID, Note(ID, f"wrote from {ADDRESS}, by post too"))
    assert entries(db)[0].note == "wrote from <address> by post too"
    erase(db, ID, spool_path=NOWHERE)
    assert {one.note for one in entries(db)} == {None}


def test_outcomes_of_the_erased_are_still_found_by_id(db: Database) -> None:
    bring(db, DOCUMENT)
    harness = sent_campaign(db)
    erase(db, ID, spool_path=NOWHERE)
    (one,) = page_of_outcomes(db, ID, before=None, count=9)
    assert (one.campaign_id, one.status, one.address) == (harness.campaign_id, "sent", None)


class Events:
    """Anything that may happen to somebody, in any order; `erased` is how much mail had arrived when they went."""

    def __init__(self, db: Database, folder: Path, seed: int) -> None:
        self.db, self.folder, self.chance = db, folder, random.Random(seed)
        self.harness = Harness(db, suppress_after=1, merge_addresses=bool(seed % 2))
        self.erased: int | None = None

    def happen(self) -> None:
        """One event, and then what must be true."""
        self.harness.now += self.chance.randrange(1, 400_000)
        self.chance.choice(
            [self.come, self.come, self.write_to_all, self.deliver, self.deliver, self.wish, self.list, self.erase]
        )()
        if self.erased is not None:
            assert left(self.db) == []
            assert not {ADDRESS, SECOND} & {*self.harness.arrived()[self.erased :]}
        assert examine(self.db) == []
        self.harness.check()

    def come(self) -> None:
        """An import, a sync, a table or a request, by id or by address."""
        ways = [BACK[name] for name in BACK if "list of" not in name and "known" not in name]
        self.chance.choice([lambda: bring(self.db, DOCUMENT), self.put, *(lambda w=w: self.quietly(w) for w in ways)])()

    def quietly(self, way: Callable[[Database, Path], int]) -> None:
        way(self.db, self.folder)

    def put(self) -> None:
        """A request, which is refused where they were erased."""
        try:
            put_user(self.db, ID, {**DOCUMENT, "_id": ID})
        except WasErased:
            assert self.erased is not None

    def write_to_all(self) -> None:
        """A campaign, by a query that may name the address."""
        self.harness.accept(self.chance.choice([{}, {}, {"emails.address": ADDRESS}]) if self.erased is None else {})

    def deliver(self) -> None:
        """Some batches, in which the address may be refused."""
        self.harness.store.answer(ADDRESS, self.chance.choice([Status.SENT, Status.REFUSED, Status.DEFERRED]))
        self.harness.run()

    def wish(self) -> None:
        """They unsubscribe or subscribe again."""
        self.chance.choice([unsubscribe, resubscribe])(self.db, ID)

    def list(self) -> None:
        """Somebody else's list names them."""
        way = self.chance.choice(["a list of the unsubscribed, by address", "a list of addresses"])
        BACK[way](self.db, self.folder)

    def erase(self) -> None:
        """They are erased, if they are there, under whatever id."""
        with self.db.read() as connection:
            theirs = func.lower(User.email).in_([ADDRESS.lower(), SECOND.lower()])
            ids = connection.scalars(select(User.id).where(theirs | (User.id == ID) | (User.id == "o"))).all()
        if {*ids} - {ID}:
            return  # somebody shares the address: another test is about them
        for user_id in ids:
            erase(self.db, user_id, spool_path=NOWHERE)
            self.erased = len(self.harness.arrived()) if self.erased is None else self.erased


@pytest.mark.slow
@pytest.mark.drill
@pytest.mark.parametrize("seed", range(rounds(2, 40)))
@pytest.mark.ci
def test_erased_person_is_never_written_to_and_nowhere_whatever_happens(
    db: Database, add_users: Callable[..., list[str]], tmp_path: Path, seed: int
) -> None:
    add_users(db, 5)
    events = Events(db, tmp_path, seed)
    bring(db, DOCUMENT)
    for number in range(40):
        events.happen()
        if number == 20 and events.erased is None:
            clear_twins(db)
            events.erase()
    assert count_erased(db) <= 1


def clear_twins(db: Database) -> None:
    """Nobody shares the address any more, so that the person can be erased for the test."""
    twins = [(1, {"_id": one, "emails": [], "name": ""}) for one in ("other", "o")]
    with db.read() as connection:
        known = {*connection.scalars(select(User.id))}
    upsert_documents(db, [(row, given) for row, given in twins if given["_id"] in known], ImportOptions(Mode.REPLACE))


def test_every_column_that_holds_text_is_looked_through() -> None:
    columns = {f"{table.name}.{column.name}" for table, column in text_columns()}
    assert {"users.document", "users.email", "deliveries.address", "audit_log.details", "erased.digest"} <= columns
    assert len(columns) > 60


def test_count_of_the_erased_counts_people_and_not_addresses(db: Database) -> None:
    bring(db, DOCUMENT, {"_id": "b", "emails": []})
    for user_id in (ID, "b"):
        erase(db, user_id, spool_path=NOWHERE)
    assert count_erased(db) == 2
    with db.read() as connection:
        kinds = connection.execute(select(Erased.kind, func.count()).group_by(Erased.kind).order_by(Erased.kind)).all()
        assert [tuple(row) for row in kinds] == [("address", 2), ("user", 2)]
        assert connection.scalars(select(RefusedAddress.address)).all() == []
        assert connection.scalars(select(Delivery.user_id)).all() == []
