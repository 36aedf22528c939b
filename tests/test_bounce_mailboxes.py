"""Reports that arrive by mail: each mail is marked once its reports are on record, and read again if it was not."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy.exc import OperationalError

from app import build
from mailer.bounces import collecting, scheduled_reading
from mailer.bounces.collecting import Collected, collect, take
from mailer.bounces.mailboxes.base import MailboxUnavailable
from mailer.bounces.mailboxes.maildir import Maildir
from mailer.bounces.mailboxes.opening import open_mailbox
from mailer.bounces.report import Kind, Record, Recorded, Report
from mailer.bounces.scheduled_reading import BounceReading
from mailer.cli import main
from mailer.errors import ConfigError, DatabaseUnavailable
from mailer.selector import database_at
from mailer.settings import Settings
from mailer.settings.bounces.mailbox import BounceMailbox
from mailer.storage.database import Database
from mailer.storage.periodic_task import Stopped
from tests.bounce_mails import BOUNCE, LETTER, VACATION, WISH
from tests.bounce_records import Remembering
from tests.harness import START
from tests.imap_servers import PASSWORD, USER, ImapServer, dovecot
from tests.killable import PROCESSES
from tests.service import BIN

ALL = (BOUNCE, VACATION, WISH, LETTER)
WHAT_BECAME = Collected(mails=4, automatic=1, set_aside=1, bounced=1, unsubscribed=1)


def maildir(folder: Path, *mails: bytes) -> Path:
    for name in ("new", "cur", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number, mail in enumerate(mails):
        (folder / "new" / f"{1795953600 + number}.M{number}.mx").write_bytes(mail)
    return folder


def flags(folder: Path) -> list[str]:
    """Those of each mail, by age; `new` of one that waits."""
    new = [(path.name, "new") for path in (folder / "new").iterdir()]
    seen = [(path.name, path.name.partition(":2,")[2]) for path in (folder / "cur").iterdir()]
    return [flag for _, flag in sorted([*new, *seen])]


def place(folder: Path, options: str = "") -> BounceMailbox:
    return BounceMailbox.parse(f"maildir://{folder}{options}")


@pytest.fixture(scope="module")
def imap() -> Iterator[ImapServer]:
    with dovecot() as server:
        yield server


# --- a Maildir


def test_maildir_is_read_and_its_mails_marked(tmp_path: Path) -> None:
    folder, record = maildir(tmp_path, *ALL), Remembering()

    assert collect(Maildir(str(folder)), record) == WHAT_BECAME

    assert [(one.kind, one.address, one.sent_to) for one in record.reports] == [
        (Kind.BOUNCED, "jane@example.net", ("bounce+c4mpa1gn@example.com",)),
        (Kind.UNSUBSCRIBED, None, ("leave+c4mpa1gn@example.com",)),
    ]
    assert flags(folder) == ["S", "S", "S", "F"]
    assert collect(Maildir(str(folder)), record) == Collected()


def test_maildir_whose_mails_are_deleted_keeps_what_a_person_must_see(tmp_path: Path) -> None:
    folder = maildir(tmp_path, *ALL)
    collect(Maildir(str(folder), delete=True), Remembering())
    assert flags(folder) == ["F"]


def test_mail_that_a_mail_program_has_moved_unread_is_read(tmp_path: Path) -> None:
    folder = maildir(tmp_path)
    (folder / "cur" / "1795953600.M1.mx:2,").write_bytes(BOUNCE)
    (folder / "cur" / "1795953601.M1.mx:2,S").write_bytes(BOUNCE)
    assert collect(Maildir(str(folder)), Remembering()).mails == 1
    assert flags(folder) == ["S", "S"]


def test_mail_that_another_reader_was_faster_with_is_left_out(tmp_path: Path) -> None:
    folder = maildir(tmp_path, BOUNCE, WISH)
    first, second = Maildir(str(folder)), Maildir(str(folder))
    waiting = first.waiting()
    mail = next(waiting)
    assert collect(second, Remembering()).mails == 2
    first.done(mail)
    assert list(waiting) == []
    assert flags(folder) == ["S", "S"]


def test_mail_that_is_too_large_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailer.bounces.mailboxes.maildir.LARGEST", len(BOUNCE) - 1)
    folder = maildir(tmp_path, BOUNCE)
    assert collect(Maildir(str(folder)), Remembering()) == Collected(mails=1, set_aside=1)
    assert flags(folder) == ["F"]


def test_mail_that_cannot_be_read_does_not_keep_others_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true = collecting.read

    def read(raw: bytes) -> Any:
        return true(raw) if raw == BOUNCE else {}[raw]

    monkeypatch.setattr(collecting, "read", read)
    folder = maildir(tmp_path, LETTER, BOUNCE)
    assert collect(Maildir(str(folder)), Remembering()) == Collected(mails=2, set_aside=1, bounced=1)
    assert flags(folder) == ["F", "S"]


def test_what_is_no_maildir_is_said(tmp_path: Path) -> None:
    with pytest.raises(MailboxUnavailable, match="no folder new"):
        Maildir(str(tmp_path))


def test_wait_ends_when_a_mail_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailer.bounces.mailboxes.maildir.POLL_SECONDS", 0.02)
    folder, began = maildir(tmp_path), time.monotonic()
    threading.Timer(0.1, lambda: maildir(folder, BOUNCE)).start()
    Maildir(str(folder)).wait(20)
    assert 0.1 <= time.monotonic() - began < 10


# --- an IMAP server


def test_imap_folder_is_read_and_its_mails_marked(imap: ImapServer) -> None:
    imap.deliver(*ALL)
    record, where = Remembering(), BounceMailbox.parse(imap.url())
    with open_mailbox(where, PASSWORD) as box:
        assert collect(box, record) == WHAT_BECAME
        assert collect(box, record) == Collected()
    assert imap.flags() == [("\\Seen",), ("\\Seen",), ("\\Seen",), ("\\Flagged",)]


def test_imap_mails_that_are_done_are_deleted_and_no_others(imap: ImapServer) -> None:
    imap.deliver(*ALL, LETTER, user="deleting")
    with imap.open("deleting") as box:
        box.client.uid("STORE", "5", "+FLAGS", "(\\Deleted)")  # somebody else's, not expunged yet
    with open_mailbox(BounceMailbox.parse(imap.url("deleting", "&delete=true")), PASSWORD) as box:
        assert collect(box, Remembering()) == WHAT_BECAME
    assert imap.flags("deleting") == [("\\Flagged",), ("\\Deleted",)]


def test_imap_mail_reads_as_it_was_sent(imap: ImapServer) -> None:
    imap.deliver(BOUNCE, user="raw")
    with open_mailbox(BounceMailbox.parse(imap.url("raw")), PASSWORD) as box:
        [mail] = box.waiting()
    assert mail.raw == BOUNCE.replace(b"\n", b"\r\n")
    assert imap.flags("raw") == [()]


def test_imap_mail_that_is_too_large_is_set_aside(imap: ImapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from mailer.bounces.mailboxes import imap as module

    monkeypatch.setattr(module, "WAITING", module.WAITING.replace(str(module.LARGEST), "100"))
    monkeypatch.setattr(module, "TOO_LARGE", module.TOO_LARGE.replace(str(module.LARGEST), "100"))
    imap.deliver(BOUNCE, user="large")
    with open_mailbox(BounceMailbox.parse(imap.url("large")), PASSWORD) as box:
        assert collect(box, Remembering()) == Collected(mails=1, set_aside=1)


def test_imap_server_tells_of_a_mail_that_arrives(imap: ImapServer) -> None:
    with open_mailbox(BounceMailbox.parse(imap.url("idle")), PASSWORD) as box:
        began = time.monotonic()
        threading.Timer(0.3, lambda: imap.deliver(BOUNCE, user="idle")).start()
        box.wait(30)
        waited = time.monotonic() - began
        assert collect(box, Remembering()).bounced == 1
    assert 0.3 <= waited < 15


@pytest.mark.parametrize(
    ("change", "password", "words"),
    [
        (("ca_file=", "ca_file=/etc/ssl/certs/ca-certificates.crt#"), PASSWORD, "CERTIFICATE_VERIFY_FAILED"),
        (("localhost", "127.0.0.1"), PASSWORD, "CERTIFICATE_VERIFY_FAILED"),
        (("INBOX", "nowhere"), PASSWORD, "nowhere"),
        (("bounces", "bounces"), "wrong", "AUTHENTICATIONFAILED"),
    ],
    ids=["authority", "name", "folder", "password"],
)
def test_imap_server_that_does_not_let_in(imap: ImapServer, change: tuple[str, str], password: str, words: str) -> None:
    url = imap.url().replace(*change).partition("#")[0]
    with pytest.raises(MailboxUnavailable, match=words) as caught:
        open_mailbox(BounceMailbox.parse(url), password)
    assert str(caught.value).startswith(f"imaps://{USER}@")
    assert "\n" not in str(caught.value)


def test_imap_server_that_is_away() -> None:
    with pytest.raises(MailboxUnavailable, match="refused"):
        open_mailbox(BounceMailbox.parse("imaps://a@localhost:1/INBOX"), "x")


# --- the setting


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("maildir:///var/mail/bounces", BounceMailbox("/var/mail/bounces")),
        ("maildir:///var/mail/a%20b?delete=true", BounceMailbox("/var/mail/a b", delete=True)),
        ("imaps://me@example.org/INBOX", BounceMailbox("INBOX", "example.org", 993, "me")),
        ("imaps://me%40example.org@example.org:1993", BounceMailbox("INBOX", "example.org", 1993, "me@example.org")),
        ("imaps://me@[::1]/a/b?ca_file=/ca.pem", BounceMailbox("a/b", "::1", 993, "me", "/ca.pem")),
    ],
)
def test_mailboxes_that_a_setting_names(url: str, read: BounceMailbox) -> None:
    assert BounceMailbox.parse(url) == read


@pytest.mark.parametrize(
    "url",
    [
        "imaps://me:secret@example.org/INBOX",
        "imap://me@example.org/INBOX",
        "imaps://example.org/INBOX",
        "imaps://me@example.org/INBOX?delete=yes",
        "imaps://me@example.org/INBOX?verify=no",
        "imaps://me@example.org:0/INBOX",
        "imaps://me@[example.org/INBOX",
        "maildir://var/mail",
        "maildir:///",
        "maildir:///var/mail?ca_file=/x",
        "/var/mail/bounces",
        "",
    ],
)
def test_mailboxes_that_cannot_be(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        BounceMailbox.parse(url)
    assert "secret" not in str(caught.value)


def test_service_does_not_start_with_a_mailbox_that_nobody_can_log_in_to(tmp_path: Path) -> None:
    where = BounceMailbox.parse("imaps://me@example.org/INBOX")
    with pytest.raises(ConfigError, match="MAILER_BOUNCE_MAILBOX_PASSWORD"):
        build(Settings(database_url=f"sqlite:///{tmp_path}/mailer.db", secret_key=("k" * 40,), bounce_mailbox=where))


# --- one mail


def test_mail_that_names_no_address_is_left_for_a_person() -> None:
    nameless = LETTER.replace(b"To: bounces@example.com\n", b"")
    assert take(nameless, Remembering()) == Collected(mails=1, set_aside=1)


def test_report_of_no_message_of_ours_is_done_with() -> None:
    assert take(BOUNCE, lambda reports: Recorded(unknown=len(reports))) == Collected(mails=1, unknown=1)


@pytest.mark.parametrize("raw", [b"", b"\n\n", b"\0\xff" * 1000, b"hello", b"X-Y: z\n\nhello"])
def test_what_is_no_mail_is_set_aside(raw: bytes) -> None:
    assert take(raw, Remembering()) == Collected(mails=1, set_aside=1)


def test_answer_of_a_machine_unsubscribes_nobody() -> None:
    record = Remembering()
    assert take(VACATION.replace(b"bounce+", b"leave+"), record) == Collected(mails=1, automatic=1)
    assert record.reports == []


# --- killed between the record and the mark


class OnDisk:
    """A recorder whose reports outlive its process: a line each in a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self, reports: Sequence[Report]) -> Recorded:
        known = self.file.read_text().splitlines() if self.file.exists() else []
        lines = [repr(report) for report in reports]
        with self.file.open("a") as file:
            file.writelines(f"{line}\n" for line in lines if line not in known)
            file.flush()
            os.fsync(file.fileno())
        repeated = sum(line in known for line in lines)
        return Recorded(bounced=len(lines) - repeated, repeated=repeated)


class Killed(OnDisk):
    """Kills its process once the reports are on disk."""

    def __call__(self, reports: Sequence[Report]) -> Recorded:
        super().__call__(reports)
        os.kill(os.getpid(), signal.SIGKILL)
        return Recorded()


def read_and_die(url: str, file: Path) -> None:
    with open_mailbox(BounceMailbox.parse(url), PASSWORD) as box:
        collect(box, Killed(file))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["maildir", "imap"])
def test_mail_is_read_again_after_a_kill_between_record_and_mark(tmp_path: Path, imap: ImapServer, kind: str) -> None:
    url = imap.url("killed") if kind == "imap" else f"maildir://{maildir(tmp_path / 'box', BOUNCE)}"
    if kind == "imap":
        imap.deliver(BOUNCE, user="killed")
    file = tmp_path / "reports"
    process = PROCESSES.Process(target=read_and_die, args=(url, file))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert len(file.read_text().splitlines()) == 1

    with open_mailbox(BounceMailbox.parse(url), PASSWORD) as box:
        assert collect(box, OnDisk(file)) == Collected(mails=1, repeated=1)
        assert collect(box, OnDisk(file)) == Collected()
    assert len(file.read_text().splitlines()) == 1


def test_mail_waits_on_while_the_database_is_away(tmp_path: Path) -> None:
    folder = maildir(tmp_path, BOUNCE)

    def away(reports: Sequence[Report]) -> Recorded:
        raise OperationalError("", {}, Exception("away"))

    with pytest.raises(OperationalError):
        collect(Maildir(str(folder)), away)
    assert flags(folder) == ["new"]


# --- as a task of the engine


class Machines:
    """Processes that share a database, whose time is `now`, and a Maildir."""

    def __init__(self, db: Database, folder: Path) -> None:
        self.db, self.folder, self.record, self.now = db, folder, Remembering(), START
        db.clock = lambda _connection: self.now
        self.stopping = threading.Event()

    def task(self, record: Record | None = None) -> BounceReading:
        return BounceReading(self.db, place(self.folder), "", record or self.record, 60_000)


@pytest.fixture
def machines(db: Database, tmp_path: Path) -> Machines:
    return Machines(db, maildir(tmp_path / "box"))


def test_task_reads_once_a_minute(machines: Machines) -> None:
    maildir(machines.folder, BOUNCE)
    assert machines.task().run_when_due(machines.stopping) == Collected(mails=1, bounced=1)
    maildir(machines.folder, WISH)
    assert machines.task().run_when_due(machines.stopping) is None
    machines.now += 60_000
    assert machines.task().run_when_due(machines.stopping) == Collected(mails=1, unsubscribed=1)


def test_one_process_reads_at_a_time(machines: Machines) -> None:
    maildir(machines.folder, BOUNCE, WISH)
    others: list[Collected | None] = []

    def record(reports: Sequence[Report]) -> Recorded:
        others.append(machines.task().run_when_due(machines.stopping))
        return machines.record(reports)

    assert machines.task(record).run_when_due(machines.stopping) == Collected(mails=2, bounced=1, unsubscribed=1)
    assert others == [None, None]


def test_task_stops_between_two_mails_and_goes_on_elsewhere(machines: Machines) -> None:
    maildir(machines.folder, BOUNCE, WISH)

    def record(reports: Sequence[Report]) -> Recorded:
        machines.stopping.set()
        return machines.record(reports)

    with pytest.raises(Stopped):
        machines.task(record).run_when_due(machines.stopping)
    assert flags(machines.folder) == ["S", "new"]
    machines.stopping.clear()
    assert machines.task().run_when_due(machines.stopping) == Collected(mails=1, unsubscribed=1)


def test_trouble_of_the_mailbox_is_told_and_passes(machines: Machines) -> None:
    (machines.folder / "new").rename(machines.folder / "old")
    task = machines.task()
    with pytest.raises(MailboxUnavailable):
        task.run_when_due(machines.stopping)
    assert task.trouble() == "failed, 1 in a row"  # anybody may ask /readyz, so that it names no mailbox
    record = task.record()
    assert record is not None
    assert "no folder new" in (record.error or "")
    (machines.folder / "old").rename(machines.folder / "new")
    machines.now += 60_000
    assert task.run_when_due(machines.stopping) == Collected()
    assert task.trouble() is None


def test_journal_that_takes_no_wishes_is_told_and_the_mail_waits_on(machines: Machines) -> None:
    maildir(machines.folder, WISH)

    def record(reports: Sequence[Report]) -> Recorded:
        raise DatabaseUnavailable

    task = machines.task(record)
    with pytest.raises(DatabaseUnavailable):
        task.run_when_due(machines.stopping)
    assert flags(machines.folder) == ["new"]
    assert task.trouble() == "failed, 1 in a row"


def test_service_has_the_task_where_the_setting_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduled_reading, "POLL_SECONDS", 0.05)
    folder, url = maildir(tmp_path / "box", BOUNCE), f"sqlite:///{tmp_path}/mailer.db"
    services = build(Settings(database_url=url, secret_key=("k" * 40,), bounce_mailbox=place(folder)))
    services.engine.start()
    try:
        until = time.monotonic() + 20
        while flags(folder) == ["new"] and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        services.engine.stop(10)
        services.db.close()
    assert flags(folder) == ["S"]
    assert "bounces" in services.tasks


# --- the command


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [one for one in os.environ if one.startswith("MAILER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_DATABASE_URL", f"sqlite:///{tmp_path}/mailer.db")
    return tmp_path


def test_command_reads_the_mailbox_of_the_setting(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = maildir(at_home / "box", BOUNCE, LETTER)
    monkeypatch.setenv("MAILER_BOUNCE_MAILBOX", f"maildir://{folder}")
    done = CliRunner().invoke(main, ["bounces", "read"])
    assert (done.exit_code, done.stdout) == (0, "mails: 2, set aside: 1, unknown: 1\n")
    assert flags(folder) == ["S", "F"]


def test_command_reads_an_imap_folder_with_the_password_of_a_file(
    at_home: Path, imap: ImapServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    imap.deliver(BOUNCE, user="command")
    (at_home / "password").write_text(PASSWORD + "\n")
    (at_home / "password").chmod(0o600)
    monkeypatch.setenv("MAILER_BOUNCE_MAILBOX_PASSWORD_FILE", str(at_home / "password"))
    done = CliRunner().invoke(main, ["bounces", "read", imap.url("command"), "--delete", "--json"])
    assert done.exit_code == 0, done.output
    assert '"unknown": 1' in done.stdout
    assert imap.flags("command") == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["read"], 2, "neither a MAILBOX nor MAILER_BOUNCE_MAILBOX"),
        (["read", "imaps://a:hidden@example.org/x"], 2, "MAILER_BOUNCE_MAILBOX_PASSWORD"),
        (["read", "-", "--delete"], 2, "--delete is for a mailbox"),
        (["read", "-", "--watch"], 2, "--watch is for a mailbox"),
        (["read", "maildir:///nowhere/at/all"], 1, "no Maildir"),
        (["read", "imaps://a@localhost:1/x"], 1, "refused"),
    ],
)
def test_command_that_cannot_be_done(at_home: Path, arguments: list[str], code: int, words: str) -> None:
    done = CliRunner().invoke(main, ["bounces", *arguments])
    assert done.exit_code == code
    assert words in done.stderr
    assert "hidden" not in done.output


def test_settings_are_checked_with_their_mailbox(
    at_home: Path, imap: ImapServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILER_BOUNCE_MAILBOX", imap.url("checked"))
    monkeypatch.setenv("MAILER_BOUNCE_MAILBOX_PASSWORD", PASSWORD)
    good = CliRunner().invoke(main, ["config", "check"])
    monkeypatch.setenv("MAILER_BOUNCE_MAILBOX_PASSWORD", "wrong-one")
    bad = CliRunner().invoke(main, ["config", "check"])
    assert (good.exit_code, bad.exit_code) == (0, 1)
    assert "bounces: ok" in good.stdout
    assert "AUTHENTICATIONFAILED" in bad.stderr
    assert "wrong-one" not in bad.output


def test_command_that_watches_opens_the_mailbox_again(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, slept = at_home / "box", []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            maildir(folder, BOUNCE)

    def end(_box: Maildir, seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mailer.cli.commands.bounces.group.time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(Maildir, "wait", end)
    done = CliRunner().invoke(main, ["bounces", "read", f"maildir://{folder}", "--watch"])
    assert (done.exit_code, done.stdout) == (130, "mails: 1, unknown: 1\n")
    assert slept == [5.0, 15.0]
    assert done.stderr.count("no Maildir") == 2


def migrated(folder: Path) -> None:
    with closing(database_at(f"sqlite:///{folder}/mailer.db")) as db:
        db.migrate()


def dump(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "mailer.db")) as connection:
        return list(connection.iterdump())


def piped(folder: Path, mail: bytes, **settings: str) -> subprocess.CompletedProcess[bytes]:
    """The command as Postfix runs it: with an environment of its own, and the message on standard input."""
    environment = {"PATH": "/usr/bin:/bin", "MAILER_DATABASE_URL": f"sqlite:///{folder}/mailer.db", **settings}
    environment.setdefault("MAILER_SECRET_KEY", "k" * 40)
    command = [str(BIN / "mailer"), "bounces", "read", "-"]
    return subprocess.run(
        command, cwd=folder, env=environment, input=mail, capture_output=True, check=False, timeout=60
    )


@pytest.mark.slow
def test_message_that_postfix_pipes_is_taken(tmp_path: Path) -> None:
    migrated(tmp_path)
    bounce, letter = piped(tmp_path, BOUNCE), piped(tmp_path, LETTER)
    assert (bounce.returncode, bounce.stdout) == (0, b"mails: 1, unknown: 1\n")
    assert (letter.returncode, letter.stdout) == (0, b"mails: 1, set aside: 1\n")  # to be bounced would help nobody


@pytest.mark.slow
@pytest.mark.parametrize("mail", [b"", b"\x7fELF" + bytes(range(256)) * 40], ids=["empty", "binary"])
def test_standard_input_that_is_no_mail_is_said(tmp_path: Path, mail: bytes) -> None:
    migrated(tmp_path)
    done = piped(tmp_path, mail)
    assert (done.returncode, done.stdout) == (65, b"")
    assert b"standard input is no mail" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"MAILER_SECRET_KEY": ""}, b"MAILER_SECRET_KEY: is not set"),
        ({}, b"there is no database"),
    ],
    ids=["no key", "no database"],
)
def test_pipe_without_its_settings_makes_nothing(tmp_path: Path, settings: dict[str, str], words: bytes) -> None:
    done = piped(tmp_path, BOUNCE, **settings)
    assert done.returncode == 75
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("version", ["", "0001"], ids=["without tables", "of an older version"])
def test_pipe_does_not_migrate(tmp_path: Path, version: str) -> None:
    if version:
        migrated(tmp_path)
    with closing(sqlite3.connect(tmp_path / "mailer.db")) as connection, connection:
        connection.execute("CREATE TABLE somebodys (x)")
        if version:
            connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
    before = dump(tmp_path)
    done = piped(tmp_path, BOUNCE)
    assert done.returncode == 75
    assert b"the database is not migrated" in done.stderr
    assert dump(tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"MAILER_DATABASE_URL": "postgresql+psycopg://mailer@127.0.0.1:1/mailer"},
        {"MAILER_BOUNCE_MAILBOX": "nonsense"},
    ],
    ids=["no server", "wrong setting"],
)
def test_postfix_is_told_to_try_again(tmp_path: Path, settings: dict[str, str]) -> None:
    done = piped(tmp_path, BOUNCE, **settings)
    assert done.returncode == 75, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert b"Traceback" not in done.stderr


@pytest.mark.slow
def test_command_that_watches_reads_what_arrives(tmp_path: Path) -> None:
    folder = maildir(tmp_path / "box")
    environment = {"PATH": "/usr/bin:/bin", "MAILER_DATABASE_URL": f"sqlite:///{tmp_path}/mailer.db"}
    command = [str(BIN / "mailer"), "bounces", "read", f"maildir://{folder}", "--watch"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert run.stdout
        maildir(folder, BOUNCE)
        assert run.stdout.readline() == b"mails: 1, unknown: 1\n"
        run.send_signal(signal.SIGINT)
        assert run.wait(20) == 130
    assert flags(folder) == ["S"]
