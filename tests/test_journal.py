"""The journal: what is in it before anybody is told, and what a restored backup learns from it, on both databases."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import delete, insert, select

from app import create_app
from mailer.callers.tokens import PERMISSIONS, Tokens
from mailer.campaigns.invariants import examine
from mailer.campaigns.people.erasure import erase
from mailer.campaigns.recovery.journaled import LEEWAY, TakenOver, proved, take_over
from mailer.cli import main
from mailer.directory.users import patch_user, put_user
from mailer.errors import DatabaseUnavailable, InvalidState
from mailer.selector import database_at
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.erased.key import key_of
from mailer.storage.erased.people import erased_addresses, erased_users
from mailer.storage.journal.reader import read
from mailer.storage.journal.writer import Journal, Wished, journal_at
from mailer.storage.models import Event, RefusedAddress, User
from mailer.suppression.blocked_addresses import block
from mailer.suppression.list_files import ListedAddress, ListedPerson
from mailer.suppression.suppressed_addresses import lift
from mailer.suppression.unsubscribe_lists import unsubscribe_listed
from mailer.suppression.unsubscribes import resubscribe, resubscribe_address, unsubscribe, unsubscribe_matching
from mailer.suppression.wishes import kept_wishes
from tests.conftest import user_row
from tests.databases import PostgreSQL
from tests.harness import MINUTE, START
from tests.test_recovery import Reconciling, back_up, bring_back
from transports.base import Message

DAY = 86_400
KEY = b"k" * 32


def journal_of(db: Database, folder: Path) -> Journal:
    made = journal_at(db, str(folder), 90 * DAY)
    assert made is not None
    return made


def lines_of(folder: Path) -> list[dict[str, Any]]:
    paths = sorted(folder.glob("*.journal"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines() if '"journal"' not in line]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journaled(db: Database, folder: Path, add_users: Callable[..., Any]) -> Database:
    """A database with ten users, whose clock stands, and a journal."""
    add_users(db, 10)
    db.clock = lambda _connection: START
    db.journal = journal_of(db, folder)
    return db


def test_files_are_their_owners_alone_and_have_no_address(journaled: Database, folder: Path) -> None:
    unsubscribe(journaled, "user00001")
    block(journaled, [ListedAddress("user00002@example.com")], by="ann", reason="asked by b@example.com")
    erase(journaled, "user00003")
    (path,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    assert "@" not in path.read_text()
    assert [one["w"] for one in lines_of(folder)] == ["unsubscribe", "block", "erase"]


def test_another_file_is_begun_when_one_is_large_or_old_or_of_another_process(folder: Path) -> None:
    large = Journal(folder, KEY, DAY, largest=200)
    for _ in range(5):
        large.sent("campaign", ["user00001", "user00002", "user00003"])
    assert len(list(folder.iterdir())) == 2
    old = Journal(folder, KEY, DAY, oldest=0.0)
    for _ in range(2):
        old.sent("campaign", ["user00001"])
    assert len(list(folder.iterdir())) == 4
    if (pid := os.fork()) == 0:
        large.sent("campaign", ["in the child"])
        os._exit(0)
    os.waitpid(pid, 0)
    large.sent("campaign", ["in the parent"])
    found = read([folder])
    assert {("campaign", "in the child"), ("campaign", "in the parent")} <= found.sent
    assert len(list(folder.iterdir())) == 5


def test_files_older_than_their_retention_go(folder: Path) -> None:
    Journal(folder, KEY, DAY).sent("campaign", ["first"])
    (first,) = folder.iterdir()
    os.utime(first, (time.time() - 2 * DAY,) * 2)
    Journal(folder, KEY, DAY).sent("campaign", ["second"])
    assert read([folder]).sent == {("campaign", "second")}


def test_half_a_line_is_left_out_and_told(folder: Path) -> None:
    Journal(folder, KEY, DAY).sent("campaign", ["first"])
    (path,) = folder.iterdir()
    with path.open("ab") as file:
        file.write(b'{"c":"campaign","s":["sec')
    Journal(folder, KEY, DAY).sent("campaign", ["third"])
    found = read([folder])
    assert (found.sent, found.broken) == ({("campaign", "first"), ("campaign", "third")}, 1)
    with pytest.raises(InvalidState, match="no file of a journal"):
        read([folder.parent])


WISHES: dict[str, Callable[[Database], object]] = {
    "unsubscribe": lambda db: unsubscribe(db, "user00001"),
    "as upstream": lambda db: unsubscribe_matching(db, "user00001", 1_420_070_400_001),
    "list": lambda db: unsubscribe_listed(db, [ListedPerson("user00001", None)], by="ann", source="list"),
    "document": lambda db: put_user(db, "user00001", {"mailer": {"unsubscribed": True}}),
    "patch": lambda db: patch_user(db, "user00001", {"mailer": {"unsubscribed": True}}),
    "block": lambda db: block(db, [ListedAddress("user00001@example.com")], by="ann", reason="x"),
    "erase": lambda db: erase(db, "user00001"),
}


@pytest.mark.parametrize("way", WISHES)
def test_wish_is_in_the_journal_or_is_not_acknowledged(journaled: Database, folder: Path, way: str) -> None:
    def everything() -> Any:
        with journaled.read() as connection:
            return (
                connection.execute(select(User.__table__).order_by(User.id)).all(),
                connection.execute(select(RefusedAddress.__table__)).all(),
            )

    before = everything()
    folder.write_text("in the way")  # nothing can be written there, whoever tries it
    with pytest.raises(DatabaseUnavailable):
        WISHES[way](journaled)
    assert everything() == before
    folder.unlink()
    WISHES[way](journaled)
    assert everything() != before
    assert len(lines_of(folder)) == 1


def test_what_takes_back_is_in_the_journal_once_it_is_committed(journaled: Database, folder: Path) -> None:
    unsubscribe(journaled, "user00001")
    block(journaled, [ListedAddress("user00002@example.com")], by="ann", reason="x")
    unsubscribe_listed(journaled, [ListedPerson(None, "later@example.com")], by="ann", source="list")
    journaled.journal = None
    for path in folder.iterdir():
        path.unlink()
    journaled.journal = journal_of(journaled, folder)
    assert resubscribe(journaled, "user00001", merged=True)
    assert not resubscribe(journaled, "nobody")
    assert resubscribe_address(journaled, "later@example.com") == 0
    assert lift(journaled, ["user00002@example.com"]).lifted == 1
    assert [(one["w"], one.get("u"), len(one.get("a", ()))) for one in lines_of(folder)] == [
        ("subscribe", "user00001", 1),
        ("subscribe", None, 1),
        ("lift", None, 1),
    ]


def restored(db: Database, made_at: int = START) -> None:
    """Have the database believe that it was restored from a backup of then."""
    with db.write() as connection:
        connection.execute(insert(Event).values(at=START, kind="restored", details={"made_at": made_at}))


def unsubscribed(db: Database) -> set[str]:
    with db.read() as connection:
        return set(connection.scalars(select(User.id).where(User.unsubscribed_at.is_not(None))))


def wished(folder: Path, key: bytes, *wishes: tuple[Wished, int, str | None, list[str]]) -> Any:
    journal = Journal(folder, key, DAY)
    for wish in wishes:
        journal.wish(*wish)
    return read([folder]).wishes


def test_wishes_are_replayed_in_order_and_in_doubt_nobody_is_written_to(
    db: Database, folder: Path, add_users: Callable[..., Any]
) -> None:
    add_users(db, 10)
    db.clock = lambda _connection: START + 60 * MINUTE
    restored(db)
    out, back = Wished.UNSUBSCRIBE, Wished.SUBSCRIBE
    four, five = "user00004@example.com", "user00005@example.com"
    wishes = wished(
        folder,
        key_of(db),
        (out, START + MINUTE, "user00001", []),
        (out, START + MINUTE, "user00002", []),
        (back, START + 2 * MINUTE, "user00002", []),
        (back, START + 3 * MINUTE, "user00003", []),  # in the file before what it takes back
        (out, START + 2 * MINUTE, "user00003", []),
        (out, START + MINUTE, None, [four]),
        (out, START + MINUTE, None, [five]),
        (back, START + 2 * MINUTE, None, [five]),
        (out, START + MINUTE, "user00006", []),
        (back, START + MINUTE + LEEWAY - 1, "user00006", []),  # too near to be sure
        (out, START - 2 * 60 * MINUTE, "user00007", []),  # the backup knows what came of it
        (out, START + MINUTE, "new", []),
        (out, START + MINUTE, None, ["nobody@example.com"]),
    )
    for _ in range(2):  # it may be said again
        told = take_over(db, wishes)
        assert unsubscribed(db) == {"user00001", "user00004", "user00006"}
        assert told.unknown == 1
    assert [one.user_id for one in kept_wishes(db) if one.user_id] == ["new"]
    with db.write() as connection:  # who comes later, and what was unknown
        connection.execute(insert(User), [user_row(50, email="nobody@example.com")])
    assert take_over(db, wishes).unknown == 0
    assert "user00050" in unsubscribed(db)


def test_nothing_is_taken_back_that_was_wished_later_or_before_the_backup(
    db: Database, folder: Path, add_users: Callable[..., Any]
) -> None:
    add_users(db, 4, unsubscribed_at=START - MINUTE)
    wishes = wished(
        folder,
        key_of(db),
        (Wished.SUBSCRIBE, START - 2 * MINUTE, "user00001", []),
        (Wished.SUBSCRIBE, START + MINUTE, "user00002", []),
    )
    take_over(db, wishes)
    assert len(unsubscribed(db)) == 4  # it is not on record from when the backup is
    restored(db)
    take_over(db, wishes)
    assert unsubscribed(db) == {"user00000", "user00001", "user00003"}


def test_last_block_or_lift_of_an_address_counts(db: Database, folder: Path, add_users: Callable[..., Any]) -> None:
    add_users(db, 5)
    db.clock = lambda _connection: START - MINUTE
    block(db, [ListedAddress(f"user0000{number}@example.com") for number in (3, 4)], by="ann", reason="theirs")
    restored(db)
    on, off = Wished.BLOCK, Wished.LIFT
    at = [f"user0000{number}@example.com" for number in range(5)]
    wishes = wished(
        folder,
        key_of(db),
        (on, START + MINUTE, None, [at[0]]),
        (on, START + MINUTE, None, [at[1]]),
        (off, START + 2 * MINUTE, None, [at[1]]),
        (on, START + MINUTE, None, [at[2]]),
        (off, START + MINUTE + LEEWAY - 1, None, [at[2]]),
        (off, START + MINUTE, None, [at[3]]),
        (on, START + MINUTE, None, [at[4]]),
        (on, START + MINUTE, None, ["nobody@example.com"]),
    )
    for _ in range(2):
        assert take_over(db, wishes).unknown == 1
        with db.read() as connection:
            facts = select(RefusedAddress.address, RefusedAddress.blocked_by).order_by(RefusedAddress.address)
            assert connection.execute(facts).all() == [(at[0], "journal"), (at[2], "journal"), (at[4], "ann")]


def test_erasures_are_done_again_also_of_users_whom_the_backup_does_not_know(
    db: Database, folder: Path, add_users: Callable[..., Any], tmp_path: Path
) -> None:
    add_users(db, 3)
    restored(db)
    wishes = wished(
        folder,
        key_of(db),
        (Wished.ERASE, START + MINUTE, "user00001", ["user00001@example.com", "second@example.com"]),
        (Wished.ERASE, START + MINUTE, "newer", ["newer@example.com"]),
    )
    assert take_over(db, wishes, spool_path=tmp_path / "spool").counts["erase"] == 2
    assert take_over(db, wishes, spool_path=tmp_path / "spool").counts["erase"] == 0
    with db.read() as connection:
        assert erased_users(connection, ["user00001", "newer", "user00002"]) == {"user00001", "newer"}
        addresses = ["second@example.com", "newer@example.com", "user00002@example.com"]
        assert erased_addresses(connection, addresses) == set(addresses[:2])
        assert connection.scalar(select(User.id).where(User.id == "user00001")) is None


def test_journal_of_another_key_is_refused(db: Database, folder: Path) -> None:
    with pytest.raises(InvalidState, match="the backup is older than the journal"):
        take_over(db, wished(folder, KEY, (Wished.BLOCK, START, None, ["a@example.com"])))
    assert isinstance(take_over(db, []), TakenOver)


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 10])
def test_backup_in_mid_campaign_restored_and_told_reaches_everybody_once_and_every_wish_holds(
    db: Database, add_users: Callable[..., Any], tmp_path: Path, folder: Path, postgresql: PostgreSQL, at: int
) -> None:
    """The drill: the journal proves what the relay's log no longer has, and the log what was in flight at the end."""
    add_users(db, 60)
    db.journal = journal_of(db, folder)
    lost = Reconciling(db)
    file, sent, usual = tmp_path / "backup", list[Message](), lost.transport.send
    unsubscribe(db, "user00059")
    wanted = lost.accept()
    if at == 0:
        back_up(db, file)  # before it is planned
    lost.now += 2 * MINUTE

    def wish() -> None:
        lost.now += MINUTE
        unsubscribe(db, "user00040")
        unsubscribe_listed(db, [ListedPerson(None, "user00041@example.com")], by="ann", source="list")
        block(db, [ListedAddress("USER00042@example.com")], by="ann", reason="asked to")
        erase(db, "user00043", spool_path=tmp_path / "spool")
        unsubscribe(db, "user00044")
        lost.now += MINUTE
        resubscribe(db, "user00044")
        resubscribe(db, "user00059")  # of before the backup

    def sending(messages: Any) -> Iterator[Any]:
        yield from usual(_noted(messages))

    def _noted(messages: Any) -> Iterator[Message]:
        for message in messages:
            if len(sent) == at > 0:
                back_up(db, file)
            if len(sent) == 28:
                raise KeyboardInterrupt  # the machine is gone, with the messages of the checkpoint in hand
            sent.append(message)
            yield message

    lost.transport.send = sending  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        lost.run()
    wish()

    empty = nullcontext(f"sqlite:///{tmp_path}/restored.db") if db.writes else postgresql.empty()
    with empty as url, closing(database_at(url)) as again:
        bring_back(file, again)
        found = Reconciling(again)
        found.now = lost.now + 60 * MINUTE
        journal, log = read([folder]), [message.id for message in sent[-5:]]
        assert len({*proved(journal)} - {*log}) > 10  # what the log has lost
        assert {*log} - {*proved(journal)}  # what the journal never had
        (one,) = found.reconcile([*log, *proved(journal)])
        told = take_over(again, journal.wishes, spool_path=tmp_path / "spool")
        assert (told.unknown, told.refused) == (0, {})
        found.decide()
        found.run()
        assert examine(again) == []
        assert unsubscribed(again) == {"user00040", "user00041"}
        total = Counter(message.recipient for message in [*sent, *found.store.messages])
    left_out = {f"user000{number}@example.com" for number in (40, 41, 42, 43)}
    everybody = {f"user{number:05d}@example.com" for number in range(60)}
    assert set(total.values()) == {1}
    # user00059 came back after the campaign had been planned without them
    assert set(total) == everybody - left_out - {"user00059@example.com"}
    assert one.campaign_id == wanted


@pytest.mark.slow
def test_command_tells_what_it_has_taken_over(
    sqlite_db: Database, add_users: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    add_users(sqlite_db, 4)
    journal = tmp_path / "journal"

    def mailer(url: str, *arguments: str) -> Any:
        environment = {"MAILER_DATABASE_URL": url, "MAILER_SECRET_KEY": "k" * 40, "MAILER_TRANSPORT": "memory:"}
        environment["MAILER_JOURNAL_DIR"] = str(journal)
        return CliRunner(env=environment).invoke(main, list(arguments))

    assert mailer(sqlite_db.url, "users", "unsubscribe", "user00000").exit_code == 0
    assert mailer(sqlite_db.url, "backup", "file").exit_code == 0
    (tmp_path / "gone.csv").write_text("address\nuser00001@example.com\nelsewhere@example.com\n")
    assert mailer(sqlite_db.url, "unsubscribes", "import", "gone.csv").exit_code == 0
    url = f"sqlite:///{tmp_path}/restored.db"
    assert mailer(url, "restore", "file").exit_code == 0
    written = sum(path.stat().st_size for path in journal.iterdir())
    told = mailer(url, "reconcile", "--journal", "journal")
    assert "wishes taken over: 0 subscribe, 2 unsubscribe" in told.output
    assert "wishes about addresses that nobody here has, kept for whoever comes: 1" in told.output
    assert told.exit_code == 0
    assert "wishes taken over: 0 subscribe, 0 unsubscribe" in mailer(url, "reconcile", "--journal", "journal").output
    assert sum(path.stat().st_size for path in journal.iterdir()) == written  # what was told is not written again
    assert mailer(url, "reconcile").exit_code == 2
    with closing(database_at(url)) as again:
        assert unsubscribed(again) == {"user00000", "user00001"}


def test_api_answers_503_where_a_wish_cannot_be_journaled(
    any_db: Database, add_users: Callable[..., Any], folder: Path
) -> None:
    add_users(any_db, 3)
    folder.write_text("in the way")
    options: dict[str, Any] = {"secret_key": ("k" * 40,), "rate_limit": "", "transport": "memory:"}
    app = create_app(Settings(database_url=any_db.url, journal_dir=str(folder), **options))
    headers = {"X-User-Id": "user00000", "X-Auth-Token": Tokens(any_db).create("user00000", PERMISSIONS)}
    call = {"headers": headers, "json": {"_id": "user00001", "createdAt": "1420070400001"}}
    answer = app.test_client().post("/api/v1/mailer.unsubscribe", **call)
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    assert unsubscribed(any_db) == set()
    folder.unlink()
    assert app.test_client().post("/api/v1/mailer.unsubscribe", **call).status_code == 200
    app.extensions["mailer"].db.close()
    assert [one.user_id for one in read([folder]).wishes] == ["user00001"]


def test_journal_is_tried_out_before_anything_is_sent(folder: Path) -> None:
    folder.write_text("in the way")
    assert "journal" in (Journal(folder, KEY, DAY).trouble() or "")
    folder.unlink()
    assert Journal(folder, KEY, DAY).trouble() is None
    assert read([folder]).wishes == []


def test_without_a_journal_none_is_made(sqlite_db: Database) -> None:
    assert journal_at(sqlite_db, "", DAY) is None
    with sqlite_db.write() as connection:
        connection.execute(delete(User))
    assert Settings().journal_dir == ""
