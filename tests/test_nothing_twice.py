"""A restored backup sends nothing of what it has lost again, and brings back nobody who was gone. On both databases."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, update

from app import create_app
from mailer.audience.earlier import Earlier, narrowed
from mailer.callers import held_tokens
from mailer.callers.tokens import PERMISSIONS, Tokens
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft
from mailer.campaigns.hold import release
from mailer.campaigns.invariants import examine
from mailer.campaigns.overview import look
from mailer.campaigns.progress import progress
from mailer.campaigns.recovery import lost
from mailer.campaigns.recovery.journaled import end_revoked, proved, restored, take_over
from mailer.cli import main
from mailer.directory.users import deactivate_user, patch_user, put_user
from mailer.errors import IdempotencyConflict, InvalidParams, JournalUnavailable, NotLoggedIn
from mailer.selector import database_at
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.journal.reader import read
from mailer.storage.models import Batch, BatchState, Campaign, Delivery, User
from tests.databases import PostgreSQL
from tests.harness import MINUTE, START, Harness
from tests.test_journal import journal_of
from tests.test_recovery import back_up, bring_back

pytestmark = pytest.mark.slow

DRAFT = Draft("News", "news@example.com", "Hi", "Hello [unsubscribe]", {}, False)
OTHER = Draft("News", "news@example.com", "Another", "Hello [unsubscribe]", {}, False)
LONG = 60 * 60_000  # ms
TIMES = {"repeat_window": LONG, "key_lifetime": 24 * LONG}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def elsewhere(db: Database, tmp_path: Path, postgresql: PostgreSQL) -> Iterator[Database]:
    """An empty database of the same kind, to restore into."""
    empty = nullcontext(f"sqlite:///{tmp_path}/restored.db") if db.writes else postgresql.migrated()
    with empty as url, closing(database_at(url)) as made:
        yield made


def after(lost_db: Database, now: int, again: Database) -> Harness:
    """The restored database an hour later."""
    made = Harness(again)
    made.now = now + 60 * MINUTE
    return made


def reconciled(db: Database, folder: Path, *logged: str) -> list[lost.Lost]:
    journal = read([folder])
    with db.read() as connection:
        moments = restored(connection)
    return lost.bring_back(db, journal, {*logged, *proved(journal)}, moments)


def test_repeated_request_is_answered_by_the_campaign_that_was_lost(
    db: Database, elsewhere: Database, add_users: Callable[..., Any], tmp_path: Path, folder: Path
) -> None:
    add_users(db, 3)
    harness = Harness(db)
    db.journal = journal_of(db, folder)
    file = back_up(db, tmp_path / "backup")
    harness.now += MINUTE
    keyed = accept(db, "user00000", DRAFT, "cron-1", **TIMES).campaign_id
    plain = accept(db, "user00001", OTHER, **TIMES).campaign_id
    harness.run()
    first = [message.id for message in harness.store.messages]
    assert len(first) == 6

    bring_back(file, elsewhere)
    found = after(db, harness.now, elsewhere)
    told = reconciled(elsewhere, folder, *first)
    assert {one.campaign_id: (one.messages, one.kept) for one in told} == {keyed: (3, True), plain: (3, True)}
    assert all(one.first_at is not None and one.accepted_at == START + MINUTE for one in told)
    release(elsewhere)
    again = accept(elsewhere, "user00000", DRAFT, "cron-1", **TIMES)
    assert (again.campaign_id, again.replayed) == (keyed, True)
    without_key = accept(elsewhere, "user00001", OTHER, repeat_window=2 * LONG)
    assert (without_key.campaign_id, without_key.replayed) == (plain, True)
    with pytest.raises(IdempotencyConflict):
        accept(elsewhere, "user00000", OTHER, "cron-1", **TIMES)
    assert not accept(elsewhere, "user00002", DRAFT, "cron-1", **TIMES).replayed  # another caller's key
    found.run()
    assert {one.id.partition(".")[0] for one in found.store.messages}.isdisjoint({keyed, plain})
    now = progress(elsewhere, keyed)
    assert (now.state, now.planned, now.sent, now.reason) == ("completed_with_issues", 3, 3, lost.REASON)
    assert examine(elsewhere) == []


def test_key_of_a_lost_campaign_ends_as_any_other_does(
    db: Database, elsewhere: Database, add_users: Callable[..., Any], tmp_path: Path, folder: Path
) -> None:
    add_users(db, 1)
    harness = Harness(db)
    db.journal = journal_of(db, folder)
    file = back_up(db, tmp_path / "backup")
    first = accept(db, "user00000", DRAFT, "key").campaign_id
    bring_back(file, elsewhere)
    found = after(db, harness.now, elsewhere)
    reconciled(elsewhere, folder)
    found.now += 48 * LONG
    later = accept(elsewhere, "user00000", OTHER, "key")
    assert (later.replayed, later.campaign_id != first) == (False, True)
    assert accept(elsewhere, "user00000", OTHER, "key").campaign_id == later.campaign_id
    reconciled(elsewhere, folder)
    assert accept(elsewhere, "user00000", OTHER, "key").campaign_id == later.campaign_id


def test_what_is_lost_is_told_each_time_and_put_back_once(
    db: Database, elsewhere: Database, add_users: Callable[..., Any], tmp_path: Path, folder: Path
) -> None:
    add_users(db, 3)
    harness = Harness(db)
    db.journal = journal_of(db, folder)
    known = accept(db, "user00000", DRAFT).campaign_id
    file = back_up(db, tmp_path / "backup")
    gone = accept(db, "user00000", OTHER, "key").campaign_id
    accept(db, "user00000", Draft("News", "news@example.com", "x", "[unsubscribe]", {}, True), "dry")
    harness.run()
    bring_back(file, elsewhere)
    after(db, harness.now, elsewhere)
    elsewhere_of_old = f"{START:011x}{'0' * 12}.{'0' * 20}"  # a journal of an earlier version has no line of it
    told = [reconciled(elsewhere, folder, elsewhere_of_old, "0195abc.0123456789abcdef0123") for _ in range(2)]
    assert told[0] == told[1]
    assert known not in {one.campaign_id for one in told[0]}
    assert {one.campaign_id: one.kept for one in told[0]}[elsewhere_of_old.partition(".")[0]] is False
    with elsewhere.read() as connection:
        rows = connection.execute(select(Campaign.id, Campaign.dry_run).where(lost.LOST)).all()
        sent = connection.scalars(select(Delivery.user_id).where(Delivery.campaign_id == gone)).all()
    assert sorted(row.dry_run for row in rows) == [False, True]
    assert sorted(sent) == ["user00000", "user00001", "user00002"]
    one = [f"{gone}.{'0' * 20}"]
    assert lost.unknown(elsewhere, one).keys() == {gone}
    assert lost.unknown(elsewhere, one, START + 48 * LONG) == {}  # a later restore need not tell of it again
    with pytest.raises(InvalidParams, match="lost when a backup was restored"):
        accept(elsewhere, "user00000", _not_reached(gone))


def _not_reached(campaign_id: str) -> Draft:
    query = narrowed({}, None, Earlier(campaign_id, ()))
    return Draft("News", "news@example.com", "Again", "[unsubscribe]", query, False)


def test_what_was_never_committed_is_not_put_back_and_a_journal_that_fails_accepts_nothing(
    db: Database, add_users: Callable[..., Any], folder: Path
) -> None:
    add_users(db, 1)
    Harness(db)
    db.journal = journal_of(db, folder)
    folder.write_text("in the way")
    with pytest.raises(JournalUnavailable, match="The journal"):
        accept(db, "user00000", DRAFT, "key")
    folder.unlink()
    with db.read() as connection:
        assert connection.scalar(select(Campaign.id)) is None
    accept(db, "user00000", DRAFT, "secret-key-of-cron")
    text = "".join(path.read_text() for path in folder.iterdir())
    assert "secret-key-of-cron" not in text
    assert "@" not in text
    assert reconciled(db, folder) == []


def test_restored_tokens_do_not_work_until_an_operator_says_so(
    db: Database, elsewhere: Database, add_users: Callable[..., Any], tmp_path: Path, folder: Path
) -> None:
    add_users(db, 4)
    harness = Harness(db)
    db.journal = journal_of(db, folder)
    tokens = Tokens(db)
    made = {user_id: tokens.create(user_id, PERMISSIONS) for user_id in ("user00000", "user00001", "user00002")}
    service = tokens.create_for_service("cron", PERMISSIONS)
    file = back_up(db, tmp_path / "backup")
    tokens.revoke_all("user00001")
    deactivate_user(db, "user00002")
    deactivate_user(db, "user00003")
    harness.now += MINUTE
    patch_user(db, "user00003", {"active": True})
    put_user(db, "new", {"_id": "new", "active": False})

    bring_back(file, elsewhere)
    after(db, harness.now, elsewhere)
    again = Tokens(elsewhere)
    for user_id, token in [*made.items(), ("service:cron", service)]:
        with pytest.raises(NotLoggedIn):
            again.authenticate(user_id, token)
    assert [one.held for one in again.list()] == [True] * 4
    journal = read([folder])
    told = take_over(elsewhere, journal.wishes)
    end_revoked(elsewhere, journal, told)
    assert (told.deactivated, told.absent, told.revoked) == (["user00002"], ["new"], 1)
    second = take_over(elsewhere, journal.wishes)
    assert (second.deactivated, second.returned) == ([], [])
    assert held_tokens.release(elsewhere, "service:cron") == 1
    assert held_tokens.release(elsewhere) == 1
    assert again.authenticate("user00000", made["user00000"]).user_id == "user00000"
    assert again.authenticate("service:cron", service).service
    for user_id in ("user00001", "user00002"):
        with pytest.raises(NotLoggedIn):
            again.authenticate(user_id, made[user_id])
    with elsewhere.read() as connection:
        active = {row.id: row.active for row in connection.execute(select(User.id, User.active))}
    assert active == {"user00000": True, "user00001": True, "user00002": False, "user00003": True}


def test_held_token_is_revoked_by_its_digest(db: Database, add_users: Callable[..., Any]) -> None:
    add_users(db, 1)
    tokens = Tokens(db)
    tokens.create("user00000", PERMISSIONS)
    with db.write() as connection:
        held_tokens.hold(connection)
    (one,) = tokens.list()
    assert (held_tokens.held(db), len(one.digest)) == (1, 64)
    assert tokens.revoke(one.digest[:16]) == 1
    assert held_tokens.held(db) == 0


def test_users_of_the_journal_are_not_deactivated_where_nothing_was_restored(
    db: Database, add_users: Callable[..., Any], folder: Path
) -> None:
    add_users(db, 1)
    Harness(db)
    db.journal = journal_of(db, folder)
    deactivate_user(db, "user00000")
    with db.write() as connection:
        connection.execute(update(User).values(active=True))  # as an import may
    told = take_over(db, read([folder]).wishes)
    assert told.deactivated == []


def test_no_batch_is_in_hand_after_a_restore(
    db: Database, elsewhere: Database, add_users: Callable[..., Any], tmp_path: Path
) -> None:
    add_users(db, 25)
    harness = Harness(db)
    harness.accept()
    harness.plan()
    with db.write() as connection:
        connection.execute(update(Batch).values(state=BatchState.RUNNING, due_at=START + 60 * MINUTE))
    assert look(db).queue["in_hand"].batches == 3
    bring_back(back_up(db, tmp_path / "backup"), elsewhere)
    elsewhere.clock = lambda _connection: START
    queue = look(elsewhere).queue
    assert (queue["in_hand"].batches, queue["held_up"].batches) == (0, 3)


@pytest.fixture
def command(db: Database, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    environment = {"MAILER_SECRET_KEY": "k" * 40, "MAILER_TRANSPORT": "memory:", "MAILER_JOURNAL_DIR": str(folder)}

    def run(*arguments: str, url: str = db.url) -> Result:
        return CliRunner(env={**environment, "MAILER_DATABASE_URL": url}).invoke(main, list(arguments))

    return run


def test_commands_say_what_is_lost_and_end_with_another_code(
    db: Database,
    elsewhere: Database,
    add_users: Callable[..., Any],
    tmp_path: Path,
    folder: Path,
    command: Callable[..., Result],
) -> None:
    add_users(db, 2)
    settings = {"secret_key": ("k" * 40,), "rate_limit": "", "transport": "memory:", "journal_dir": str(folder)}
    token = Tokens(db).create("user00000", PERMISSIONS)
    assert command("backup", "file").exit_code == 0
    call: dict[str, Any] = {
        "headers": {"X-User-Id": "user00000", "X-Auth-Token": token, "Idempotency-Key": "outage-1"},
        "json": {"from": "news@example.com", "subject": "Hi", "body": "Hello [unsubscribe]"},
    }
    app = create_app(Settings(database_url=db.url, **settings))
    first = app.test_client().post("/api/v1/mailer", **call).headers["Location"].rpartition("/")[2]
    app.extensions["mailer"].db.close()
    elsewhere.close()
    url = elsewhere.url
    said = command("restore", "file", url=url)
    assert (said.exit_code, "deactivations" in said.output, "mailer tokens release" in said.output) == (0, True, True)
    told = command("reconcile", "--journal", "journal", url=url)
    assert told.exit_code == 3, told.output
    assert "0 messages of 1 campaigns that this database does not know" in told.output
    assert f"{first}: 0 sent, accepted 20" in told.output
    assert command("reconcile", "--journal", "journal", url=url).exit_code == 3
    listed = command("tokens", "list", url=url).output
    assert "does not work: restored" in listed
    app = create_app(Settings(database_url=url, **settings))
    assert app.test_client().post("/api/v1/mailer", **call).status_code == 401
    assert command("tokens", "release", "--all", url=url).output == "tokens that work again: 1\n"
    answer = app.test_client().post("/api/v1/mailer", **call)
    assert (answer.status_code, answer.headers["Location"].rpartition("/")[2]) == (200, first)
    shown = app.test_client().get(f"/api/v1/mailer/campaigns/{first}", headers=call["headers"])
    assert shown.status_code == 200
    assert lost.REASON in json.dumps(shown.json)
    app.extensions["mailer"].db.close()


@pytest.mark.parametrize("text", ["", "junk\nmore junk\n", "Nov 29 02:10:01 mx sshd[71]: connect\n", "\x00\xff\x00"])
def test_file_that_is_no_relays_log_is_refused(text: str, command: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_text(text)
    command("hold", "--reason", "x")
    told = command("reconcile", "mail.log")
    assert told.exit_code == 1
    assert "mail.log: has no line of Postfix's log" in told.output


@pytest.mark.parametrize(
    "text", ["<a.b@example.com>\n", "Nov 29 02:10:01 mx postfix/smtpd[71]: connect from app[192.0.2.7]\n"]
)
def test_log_without_a_message_of_ours_is_a_log(text: str, command: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_text("other\n" + text)
    command("hold", "--reason", "x")
    told = command("reconcile", "mail.log")
    assert (told.exit_code, "prove nothing" in told.output) == (0, True)


def test_journal_that_cannot_be_written_is_named(
    db: Database, add_users: Callable[..., Any], folder: Path, command: Callable[..., Result]
) -> None:
    add_users(db, 1)
    folder.write_text("in the way")
    told = command("users", "unsubscribe", "user00000")
    assert told.exit_code == 1
    assert "The journal (MAILER_JOURNAL_DIR) cannot be written" in told.output
    assert str(folder) in told.output
    assert "database" not in told.output
