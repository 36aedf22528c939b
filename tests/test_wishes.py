"""A wish not to be written to holds, in whatever order lists and users come, go and change; on both databases."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, insert, select, text

from mailer.audience.shared_addresses import merged_audience
from mailer.directory.changes import Mode
from mailer.directory.imports import ImportOptions, ImportResult, upsert_documents
from mailer.directory.users import deactivate_user, patch_user, put_user
from mailer.errors import NotFound
from mailer.storage.database import Database
from mailer.storage.models import User, Wish
from mailer.suppression.list_files import ListedPerson
from mailer.suppression.unsubscribe_lists import (
    Unsubscribed,
    UnsubscribeResult,
    all_unsubscribed_users_and_wishes,
    unsubscribe_listed,
)
from mailer.suppression.unsubscribes import resubscribe, resubscribe_address, unsubscribe
from mailer.suppression.wishes import KeptWish, kept_wishes
from mailer.workspace.sync import WorkspaceMerge
from tests.conftest import user_row
from tests.drills import rounds
from tests.harness import START, Harness

BROUGHT = {"by": "boss", "source": "list.csv"}
ADDRESS = "ann@example.com"


def document(user_id: str, address: str | None = ADDRESS, *, active: bool | None = True, **more: Any) -> dict[str, Any]:
    """A user's; with `active` None it does not name whether they are."""
    emails = [{"address": address}] if address else []
    named = {} if active is None else {"active": active}
    return {"_id": user_id, "name": user_id, "emails": emails, **named, **more}


def bring(db: Database, *documents: dict[str, Any]) -> ImportResult:
    return upsert_documents(db, enumerate(documents, 1))


def replaced(db: Database, *documents: dict[str, Any]) -> ImportResult:
    return upsert_documents(db, enumerate(documents, 1), ImportOptions(Mode.REPLACE))


def synced(db: Database, *documents: dict[str, Any]) -> None:
    merge = WorkspaceMerge("https://chat.example.com", lambda _connection, _result: None)
    upsert_documents(
        db, enumerate(documents, 1), ImportOptions(Mode.REPLACE), then=partial(merge.finish, now=1)
    )  # as a sync does


def listed(db: Database, *entries: ListedPerson | str) -> UnsubscribeResult:
    return unsubscribe_listed(
        db, [ListedPerson(None, one) if isinstance(one, str) else one for one in entries], **BROUGHT
    )


def silent(db: Database) -> set[str]:
    with db.read() as connection:
        return set(connection.scalars(select(User.id).where(User.unsubscribed_at.is_not(None))))


COMING = {
    "import": lambda db: bring(db, document("u")),
    "sync": lambda db: synced(db, document("u")),
    "put": lambda db: put_user(db, "u", document("u")),
    "address of another case": lambda db: bring(db, document("u", "ANN@Example.COM")),
    "address changed by an import": lambda db: (bring(db, document("u", "u@example.com")), bring(db, document("u"))),
    "address changed by PATCH": lambda db: (
        put_user(db, "u", document("u", "u@example.com")),
        patch_user(db, "u", {"emails": [{"address": ADDRESS}]}),
    ),
    "address given by PUT": lambda db: (put_user(db, "u", document("u", None)), put_user(db, "u", document("u"))),
}


@pytest.mark.parametrize("come", COMING.values(), ids=COMING)
def test_address_on_a_list_is_not_written_to_when_a_user_comes_later(db: Database, come: Any) -> None:
    assert listed(db, "Ann@example.com") == UnsubscribeResult(0, 0, 1)
    come(db)
    assert silent(db) == {"u"}
    harness = Harness(db)
    harness.accept()
    harness.run()
    assert harness.arrived() == []


def test_id_on_a_list_holds_for_the_user_who_comes_later(db: Database) -> None:
    assert listed(db, ListedPerson("u", None)) == UnsubscribeResult(0, 0, 1)
    bring(db, document("u"), document("v", "v@example.com"))
    assert silent(db) == {"u"}


def test_wish_holds_for_everyone_who_comes_and_says_where_it_is_from(db: Database) -> None:
    db.clock = lambda _connection: START
    listed(db, ListedPerson(None, ADDRESS, 1_000), ListedPerson("w", None), ListedPerson(None, ADDRESS, 500))
    bring(db, document("u"), document("v"))
    with db.read() as connection:
        times = dict(connection.execute(select(User.id, User.unsubscribed_at)).all())
    assert times == {"u": 500, "v": 500}
    facts = (START, "boss", "list.csv")
    assert kept_wishes(db) == [KeptWish(ADDRESS, None, 500, *facts), KeptWish(None, "w", START, *facts)]
    assert kept_wishes(db, after=("address", ADDRESS), count=1) == [KeptWish(None, "w", START, *facts)]
    assert list(all_unsubscribed_users_and_wishes(db))[2:] == [
        Unsubscribed(None, ADDRESS, 500),
        Unsubscribed("w", None, START),
    ]


@pytest.mark.parametrize(("made", "kept"), [(None, START), (7, 7), (START + 5, START)])
def test_time_in_a_list_is_kept_and_lies_not_ahead(db: Database, made: int | None, kept: int) -> None:
    db.clock = lambda _connection: START
    bring(db, document("u"))
    listed(db, ListedPerson(None, ADDRESS, made))
    with db.read() as connection:
        assert connection.scalar(select(User.unsubscribed_at)) == kept
        assert connection.scalar(select(Wish.unsubscribed_at)) == kept
    listed(db, ListedPerson(None, ADDRESS, 3))
    with db.read() as connection:
        assert connection.scalar(select(User.unsubscribed_at)) == kept


def test_row_with_the_id_and_address_of_a_user_is_about_that_user_alone(db: Database) -> None:
    bring(db, document("u"), document("twin"))
    assert listed(db, ListedPerson("u", ADDRESS)) == UnsubscribeResult(1, 0, 0)
    assert listed(db, ListedPerson("u", "new@example.com")) == UnsubscribeResult(0, 1, 0)
    bring(db, document("new", "new@example.com"))
    assert silent(db) == {"u", "new"}


@pytest.mark.parametrize("by", ["the person", "an operator"])
def test_who_subscribes_again_is_written_to_and_so_is_who_comes_then(db: Database, by: str) -> None:
    listed(db, ADDRESS)
    bring(db, document("u"))
    if by == "the person":
        assert resubscribe(db, "u")
    else:
        assert resubscribe_address(db, "ANN@example.com") == 1
    assert silent(db) == set()
    bring(db, document("u", name="renamed"), document("v"))
    assert silent(db) == set()
    assert resubscribe_address(db, ADDRESS) is None


def test_operator_takes_back_the_address_and_no_wish_of_a_user(db: Database) -> None:
    bring(db, document("own"))
    unsubscribe(db, "own")
    with db.write() as connection:
        connection.execute(text("UPDATE users SET unsubscribed_at = 5"))
    listed(db, ADDRESS)
    bring(db, document("own"), document("u"))
    assert silent(db) == {"own", "u"}
    assert resubscribe_address(db, ADDRESS) == 1
    assert silent(db) == {"own"}


LEAVING = {
    "deactivated": lambda db: deactivate_user(db, "old"),
    "inactive by an import": lambda db: bring(db, document("old", active=False)),
    "gone from the workspace": lambda db: synced(db, document("somebody", "else@example.com")),
    "moved to another address": lambda db: patch_user(db, "old", {"emails": [{"address": "moved@example.com"}]}),
    "without an address": lambda db: bring(db, document("old", None)),
}


@pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
@pytest.mark.parametrize("first", ["the wish", "the leaving"])
def test_user_who_had_unsubscribed_and_comes_back_under_another_id_is_not_written_to(
    db: Database, leave: Any, first: str
) -> None:
    synced(db, document("old"))
    if first == "the wish" or leave is LEAVING["moved to another address"] or leave is LEAVING["without an address"]:
        unsubscribe(db, "old")
        leave(db)
    else:
        leave(db)
        unsubscribe(db, "old")
    bring(db, document("new"))
    assert silent(db) == {"old", "new"}
    (kept,) = kept_wishes(db)
    assert (kept.address, kept.kept_by, kept.source) == (ADDRESS, "old", "left behind")


def test_account_made_anew_in_the_workspace_is_not_written_to(db: Database) -> None:
    """The old one is missing from the very list that has the new one."""
    synced(db, document("old"))
    unsubscribe(db, "old")
    synced(db, document("new"))
    assert silent(db) == {"old", "new"}


def test_colleague_at_the_same_address_goes_on_being_written_to(db: Database) -> None:
    bring(db, document("old"), document("other"))
    unsubscribe(db, "old")
    deactivate_user(db, "old")
    bring(db, document("other", name="renamed"))
    assert (silent(db), kept_wishes(db)) == ({"old"}, [])


MOVING = {
    "moved": lambda db: patch_user(db, "old", {"emails": [{"address": "moved@example.com"}]}),
    "moved by an import": lambda db: bring(db, document("old", "moved@example.com")),
    "erased by a replacement": lambda db: replaced(db, {"_id": "old"}),
    "inactive, and then moved": lambda db: (deactivate_user(db, "old"), MOVING["moved"](db)),
    "inactive, and then erased": lambda db: (deactivate_user(db, "old"), replaced(db, {"_id": "old"})),
}


@pytest.mark.parametrize("move", MOVING.values(), ids=MOVING)
@pytest.mark.parametrize("back", ["the colleague", "an operator"])
def test_merged_address_whose_wish_has_moved_away_is_not_written_to(db: Database, move: Any, back: str) -> None:
    """It was one message for all at the address, and one of them has asked for none."""
    bring(db, document("old"), document("other"))
    unsubscribe(db, "old")
    move(db)
    assert silent(db) == {"old"}
    (kept,) = [one for one in kept_wishes(db) if one.shared]
    assert (kept.address, kept_wishes(db, after=("shared", ADDRESS))) == (ADDRESS, [])
    assert ADDRESS not in {one.address for one in all_unsubscribed_users_and_wishes(db)}
    with db.read() as connection:
        assert connection.scalars(select(User.id).where(merged_audience({}))).all() == []
    if back == "the colleague":
        assert resubscribe(db, "other", merged=True)
    else:
        assert resubscribe_address(db, ADDRESS) == 0
    with db.read() as connection:
        assert connection.scalars(select(User.id).where(merged_audience({}))).all() == ["other"]


@pytest.mark.parametrize("brings", ["import", "put"])
def test_list_and_user_at_the_same_moment_see_each_other(db: Database, brings: str) -> None:
    """The one that begins to write later waits: whichever is first, the user is marked."""
    for number in range(6):
        address = f"u{number}@example.com"
        ready = threading.Barrier(2)

        def come(number: int = number, address: str = address, ready: threading.Barrier = ready) -> None:
            ready.wait()
            if brings == "import":
                bring(db, document(f"u{number}", address))
            else:
                put_user(db, f"u{number}", document(f"u{number}", address))

        thread = threading.Thread(target=come)
        thread.start()
        ready.wait()
        listed(db, address)
        thread.join()
    assert silent(db) == {f"u{number}" for number in range(6)}


def test_list_waits_for_an_import_that_has_not_committed(db: Database) -> None:
    """Neither sees the other's rows until then."""
    done = threading.Event()
    thread = threading.Thread(target=lambda: (listed(db, ADDRESS), done.set()))

    def then(_connection: Connection, _result: ImportResult) -> None:
        thread.start()
        assert not done.wait(1)

    upsert_documents(db, [(1, document("u"))], then=then)
    thread.join()
    assert silent(db) == {"u"}


# --- any order of events, against a model -----------------------------------------------------------------------------

IDS = ("a", "b", "c")
ADDRESSES = ("x@example.com", "y@example.com", None)
people = st.lists(
    st.tuples(st.sampled_from(IDS), st.sampled_from(ADDRESSES), st.sampled_from([True, False, None])),
    max_size=3,
    unique_by=lambda row: row[0],
)
happening = st.one_of(
    st.tuples(st.sampled_from(["import", "replace", "sync"]), people),
    st.tuples(st.sampled_from(["put", "patch"]), people.filter(lambda rows: len(rows) == 1)),
    st.tuples(st.sampled_from(["click", "subscribe", "delete", "list id"]), st.sampled_from(IDS)),
    st.tuples(st.sampled_from(["list", "operator"]), st.sampled_from(ADDRESSES[:2])),
)


@dataclass(frozen=True)
class Person:
    """A user as the model has it."""

    address: str | None
    active: bool
    wish: int | None = None  # which of all wishes it is


@dataclass
class Model:
    """What must be: kept simple, without a database."""

    users: dict[str, Person] = field(default_factory=dict)
    addresses: dict[str, int] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    workspace: set[str] = field(default_factory=set)
    now: int = 0

    def written_to(self, address: str | None) -> bool:
        return any(one.address == address and one.active and one.wish is None for one in self.users.values())

    def come(self, rows: list[tuple[str, str | None, bool | None]], *, sync: bool = False) -> None:
        held = [(i, p) for i, p in self.users.items() if p.wish and p.active and not self.written_to(p.address)]
        for user_id, address, active in rows:
            before = self.users.get(user_id, Person(None, active=True))
            self.users[user_id] = Person(address, before.active if active is None else active, before.wish)
        if sync:
            self.workspace |= {row[0] for row in rows}
            for gone in self.workspace - {row[0] for row in rows}:
                self.users[gone] = replace(self.users[gone], active=False)
        left = [p for i, p in held if p.address and (not self.users[i].active or self.users[i].address != p.address)]
        for wish, address in sorted((p.wish, p.address) for p in left):
            self.addresses.setdefault(address, wish)
        self.rest([row[0] for row in rows])
        for user_id, address, _ in rows:
            made = [m for m in (self.addresses.get(address or ""), self.ids.get(user_id)) if m]
            if self.users[user_id].wish is None and made:
                self.users[user_id] = replace(self.users[user_id], wish=min(made))

    def rest(self, ids: list[str]) -> None:
        """The wishes of the inactive stay with their addresses."""
        resting = [self.users[i] for i in ids]
        for one in sorted((one for one in resting if one.wish and not one.active), key=lambda one: one.wish or 0):
            if one.address and not self.written_to(one.address):
                self.addresses.setdefault(one.address, one.wish or 0)

    def name(self, ids: list[str]) -> None:
        for user_id in ids:
            if self.users[user_id].wish is None:
                self.users[user_id] = replace(self.users[user_id], wish=self.now)
        self.rest(ids)

    def apply(self, what: str, whom: Any) -> None:  # noqa: C901 - a table of events
        self.now += 1
        if what in ("import", "replace", "sync", "put"):
            self.come(whom, sync=what == "sync")
        elif what == "patch" and whom[0][0] in self.users:
            self.come(whom)
        elif what == "delete" and whom in self.users:
            self.come([(whom, self.users[whom].address, False)])
        elif what == "click" and whom in self.users:
            self.name([whom])
        elif what == "list id":
            if whom in self.users:
                self.name([whom])
            else:
                self.ids.setdefault(whom, self.now)
        elif what == "list":
            self.addresses.setdefault(whom, self.now)
            self.name([i for i, p in self.users.items() if p.address == whom])
        elif what == "subscribe" and whom not in self.users:
            self.ids.pop(whom, None)
        elif what == "subscribe":
            self.ids.pop(whom, None)
            self.addresses.pop(self.users[whom].address or "", None)
            self.users[whom] = replace(self.users[whom], wish=None)
        elif what == "operator" and whom in self.addresses:
            made = self.addresses.pop(whom)
            for user_id, one in self.users.items():
                if one.address == whom and one.wish == made:
                    self.users[user_id] = replace(one, wish=None)


def do(db: Database, what: str, whom: Any) -> None:
    if what in ("import", "replace", "sync"):
        documents = [document(user_id, address, active=active) for user_id, address, active in whom]
        {"import": bring, "replace": replaced, "sync": synced}[what](db, *documents)
    elif what in ("put", "patch"):
        ((user_id, address, active),) = whom
        try:
            (put_user if what == "put" else patch_user)(db, user_id, document(user_id, address, active=active))
        except NotFound:
            assert what == "patch"
    elif what == "delete":
        try:
            deactivate_user(db, whom)
        except NotFound:
            return
    elif what.startswith("list"):
        listed(db, ListedPerson(whom, None) if what == "list id" else whom)
    else:
        {"click": unsubscribe, "subscribe": resubscribe, "operator": resubscribe_address}[what](db, whom)


@pytest.mark.drill
@settings(max_examples=rounds(15, 200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(happening, min_size=2, max_size=9))
def test_wish_holds_over_any_order_of_events(db: Database, happenings: list[tuple[str, Any]]) -> None:
    with db.write() as connection:
        connection.execute(delete(User))
        connection.execute(delete(Wish))
    model = Model()
    db.clock = lambda _connection: model.now
    for what, whom in happenings:
        event(what)
        model.apply(what, whom)
        do(db, what, whom)
        with db.read() as connection:
            users = connection.execute(select(User.id, User.email, User.active, User.unsubscribed_at)).all()
            wishes = connection.execute(select(Wish.kind, Wish.value, Wish.unsubscribed_at)).all()
        assert {row.id: Person(row.email, row.active, row.unsubscribed_at) for row in users} == model.users
        assert {value: made for kind, value, made in wishes if kind == "address"} == model.addresses
        assert {value: made for kind, value, made in wishes if kind == "user"} == model.ids
        for one in model.users.values():  # what it is for
            assert one.wish is not None or not one.active or one.address not in model.addresses


@pytest.mark.slow
def test_many_who_share_addresses_are_brought_in_one_look_each(db: Database) -> None:
    """Thousands at one address, all of them unsubscribed, take no time that grows with their square."""
    with db.write() as connection:
        rows = [user_row(n, email="all@example.com", unsubscribed_at=1) for n in range(3000)]
        connection.execute(insert(User), rows)
    bring(db, document("new", "all@example.com"))
    assert "new" not in silent(db)  # those who have the address still hold their wishes themselves
    deactivate_user(db, "user00000")
    assert kept_wishes(db) == []
    assert resubscribe(db, "user00001")
