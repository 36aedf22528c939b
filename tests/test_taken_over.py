"""What a journal says of people: the net difference alone, with the truth of how it came about, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from mailer.campaigns.recovery.journaled import LEEWAY, TakenOver, take_over
from mailer.directory.imports import import_users
from mailer.directory.users import put_user
from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.journal.reader import read
from mailer.storage.models import RefusedAddress, UnsubscribeEvent, User
from mailer.suppression import hashed_wishes
from mailer.suppression.blocked_addresses import block
from mailer.suppression.history import Cause, Means
from mailer.suppression.list_files import ListedAddress, ListedPerson
from mailer.suppression.suppressed_addresses import lift
from mailer.suppression.unsubscribe_lists import unsubscribe_listed
from mailer.suppression.unsubscribes import resubscribe, resubscribe_address, unsubscribe
from mailer.suppression.wishes import kept_wishes
from tests.databases import PostgreSQL
from tests.harness import MINUTE, START, Harness
from tests.test_journal import journal_of
from tests.test_recovery import back_up, bring_back

LINK = Cause(Means.LINK)
NOTHING = {"subscribe": 0, "unsubscribe": 0, "block": 0, "lift": 0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


class Restoring:
    """A database with a journal, whose clock is turned, and what a backup of it becomes."""

    def __init__(self, db: Database, elsewhere: Database, folder: Path, tmp_path: Path) -> None:
        self.db, self.again, self.folder, self.file = db, elsewhere, folder, tmp_path / "backup"
        self.harness = Harness(db)
        db.journal = journal_of(db, folder)

    def later(self, minutes: float = 1) -> None:
        self.harness.now += int(minutes * MINUTE)

    def back_up(self) -> None:
        back_up(self.db, self.file)
        self.later()

    def restore(self) -> None:
        self.later(5)
        bring_back(self.file, self.again)
        now = self.harness.now
        self.again.clock = lambda _connection: now

    def take_over(self) -> TakenOver:
        return take_over(self.again, read([self.folder]).wishes)


@pytest.fixture
def restoring(
    db: Database, tmp_path: Path, folder: Path, postgresql: PostgreSQL, add_users: Callable[..., Any]
) -> Iterator[Restoring]:
    add_users(db, 6)
    empty = nullcontext(f"sqlite:///{tmp_path}/restored.db") if db.writes else postgresql.migrated()
    with empty as url, closing(database_at(url)) as made:
        yield Restoring(db, made, folder, tmp_path)


def history(db: Database) -> list[tuple[Any, ...]]:
    columns = [getattr(UnsubscribeEvent, name) for name in ("user_id", "at", "event", "means", "who", "campaign_id")]
    with db.read() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(UnsubscribeEvent.id))]


def unsubscribed(db: Database) -> set[str]:
    with db.read() as connection:
        return set(connection.scalars(select(User.id).where(User.unsubscribed_at.is_not(None))))


def blocked(db: Database) -> list[tuple[str, str | None]]:
    with db.read() as connection:
        rows = connection.execute(select(RefusedAddress.address, RefusedAddress.blocked_by))
        return sorted((row.address, row.blocked_by) for row in rows)


@pytest.mark.parametrize("apart", [1, 2_000, 60_000], ids=["at once", "soon", "later"])
def test_what_the_database_knows_is_not_written_again(restoring: Restoring, apart: int) -> None:
    db = restoring.db
    for _ in range(2):
        unsubscribe(db, "user00001", by=LINK)
        restoring.harness.now += apart
        resubscribe(db, "user00001", by=LINK)
        restoring.later()
    unsubscribe(db, "user00002", by=Cause(Means.ONE_CLICK))
    unsubscribe_listed(db, [ListedPerson(None, "user00003@example.com", START - MINUTE)], by="ann", source="x")
    resubscribe(db, "user00003", merged=True)
    unsubscribe_listed(db, [ListedPerson(None, "later@example.com")], by="ann", source="x")
    block(db, [ListedAddress("user00004@example.com")], by="ann", reason="x")
    before, kept = history(db), kept_wishes(db)
    for _ in range(2):
        told = take_over(db, read([restoring.folder]).wishes)  # nothing was restored
        assert (set(told.counts.values()), history(db), kept_wishes(db)) == ({0}, before, kept)
    restoring.back_up()
    restoring.restore()
    for _ in range(2):
        assert restoring.take_over().counts == NOTHING
    assert (history(restoring.again), kept_wishes(restoring.again)) == (before, kept)


def test_only_the_last_of_each_person_is_taken_over_and_with_its_cause(restoring: Restoring) -> None:
    db = restoring.db
    unsubscribe(db, "user00000", by=LINK)
    restoring.back_up()
    campaign_id = restoring.harness.accept()
    restoring.harness.run()
    for _ in range(3):
        unsubscribe(db, "user00001", by=LINK)
        restoring.later()
        resubscribe(db, "user00001", by=LINK)
        restoring.later()
    unsubscribe(db, "user00002", by=Cause(Means.ONE_CLICK, campaign_id=campaign_id))
    at = restoring.harness.now
    resubscribe(db, "user00000", by=LINK)
    unsubscribe_listed(db, [ListedPerson(None, "user00003@example.com")], by="ann", source="by b@example.com")
    restoring.restore()
    before = len(history(restoring.again))
    told = restoring.take_over()
    assert told.counts == NOTHING | {"subscribe": 1, "unsubscribe": 2}
    assert restoring.take_over().counts == NOTHING
    assert sorted(history(restoring.again)[before:]) == [
        ("user00000", at, "subscribed", "link", None, None),
        ("user00002", at, "unsubscribed", "one-click", None, campaign_id),
        ("user00003", at, "unsubscribed", "list", "ann", None),
    ]
    with restoring.again.read() as connection:
        sources = set(connection.scalars(select(UnsubscribeEvent.source).where(UnsubscribeEvent.at == at)))
    assert "taken over from the journal" in sources
    assert not any("@" in (source or "") for source in sources)
    assert unsubscribed(restoring.again) == {"user00002", "user00003"}


def test_what_was_wished_after_the_restore_stays(restoring: Restoring) -> None:
    restoring.back_up()
    unsubscribe(restoring.db, "user00001", by=LINK)
    unsubscribe(restoring.db, "user00002", by=LINK)
    restoring.restore()
    now = restoring.harness.now
    unsubscribe(restoring.again, "user00001", by=Cause(Means.ONE_CLICK))
    resubscribe(restoring.again, "user00001", by=LINK)
    restoring.again.clock = lambda _connection: now + MINUTE
    assert restoring.take_over().counts == NOTHING | {"unsubscribe": 1}
    assert unsubscribed(restoring.again) == {"user00002"}


def test_wish_of_an_address_that_nobody_has_holds_for_whoever_comes(restoring: Restoring, tmp_path: Path) -> None:
    db, addresses = restoring.db, [f"{name}@example.com" for name in ("put", "file", "back", "changed", "other")]
    restoring.back_up()
    unsubscribe_listed(db, [ListedPerson(None, one) for one in addresses[:4]], by="ann", source="list")
    block(db, [ListedAddress("blocked@example.com"), ListedAddress("lifted@example.com")], by="ann", reason="x")
    restoring.later()
    resubscribe_address(db, "back@example.com")
    lift(db, ["lifted@example.com"])
    restoring.restore()
    told, again = restoring.take_over(), restoring.again
    assert (told.counts, told.unknown) == (NOTHING | {"unsubscribe": 3, "block": 1}, 4)
    assert (restoring.take_over().counts, kept_wishes(again)) == (NOTHING, [])

    put_user(again, "put", {"_id": "put", "emails": [{"address": "PUT@example.com"}]})
    rows = [f"{name},{name}@example.com" for name in ("file", "back", "other", "blocked", "lifted")]
    (tmp_path / "users.csv").write_text("\n".join(["_id,email", *rows]))
    import_users(again, tmp_path / "users.csv")
    put_user(again, "user00001", {"_id": "user00001", "emails": [{"address": "changed@example.com"}]})
    assert unsubscribed(again) == {"put", "file", "user00001"}
    assert blocked(again) == [("blocked@example.com", "ann")]
    told = restoring.take_over()
    assert (told.counts, told.unknown) == (NOTHING, 0)


def test_person_takes_back_what_only_a_hash_is_kept_of(restoring: Restoring) -> None:
    restoring.back_up()
    unsubscribe_listed(restoring.db, [ListedPerson(None, "later@example.com")], by="ann", source="list")
    block(restoring.db, [ListedAddress("blocked@example.com")], by="ann", reason="x")
    restoring.restore()
    restoring.take_over()
    again = restoring.again
    assert resubscribe_address(again, "LATER@example.com") == 0
    assert lift(again, ["blocked@example.com"]).lifted == 1
    put_user(again, "new", {"_id": "new", "emails": [{"address": "later@example.com"}]})
    with again.read() as connection:
        assert hashed_wishes.count(connection) == 0
    assert unsubscribed(again) == set()


def test_wish_of_an_address_is_taken_back_for_those_alone_whom_it_has_marked(restoring: Restoring) -> None:
    db = restoring.db
    unsubscribe_listed(db, [ListedPerson(None, "user00001@example.com")], by="ann", source="list")
    restoring.back_up()
    unsubscribe(db, "user00002", by=LINK)
    restoring.later()
    unsubscribe_listed(db, [ListedPerson(None, "user00002@example.com")], by="ann", source="list")
    restoring.later()
    resubscribe_address(db, "user00001@example.com")
    resubscribe_address(db, "user00002@example.com")
    assert unsubscribed(db) == {"user00002"}
    restoring.restore()
    restoring.take_over()
    assert unsubscribed(restoring.again) == {"user00002"}
    assert restoring.take_over().counts == NOTHING
    assert LEEWAY < MINUTE
