"""The commands that work on the database, in process."""

import errno
import fcntl
import json
import os
import re
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from mailer.api.resources.campaigns import DeliverySchema
from mailer.callers.tokens import Tokens
from mailer.campaigns.export import COLUMNS
from mailer.cli import main
from mailer.cli.output import moment, print_rows, printable
from mailer.delivery.flight import trial
from mailer.directory.imports import upsert_documents
from mailer.pacing.shared_slots import SharedSlots
from mailer.selector import database_at
from mailer.storage.database import Database
from tests.service import BIN
from transports import Message, from_url
from transports.rate import share

SAMPLE = str(Path(__file__).resolve().parent.parent / "examples" / "users.json")
USERS = [
    (1, {"_id": "ada", "username": "ada", "name": "Ada", "emails": [{"address": "ada@example.org"}]}),
    (2, {"_id": "bob", "username": "bob", "name": "Bob\x1b[2J", "active": False}),
    (3, {"_id": "zoe", "name": "Zoë", "createdAt": 1420070400000}),
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run `mailer` in a folder and with a database of its own."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"DATABASE_URL": f"sqlite:///{tmp_path}/mailer.db", "SECRET_KEY": "k" * 40}.items():
        monkeypatch.setenv(f"MAILER_{name}", value)
    monkeypatch.delenv("MAILER_TEST_CORPUS", raising=False)  # of the tests, and no setting

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, prog_name="mailer")

    return run


@pytest.fixture
def directory(run, db: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Users in a database of each kind, on which the commands then work."""
    monkeypatch.setenv("MAILER_DATABASE_URL", db.url)
    upsert_documents(db, USERS)
    return db


def failed(result: Result, code: int) -> str:
    """The one line on stderr of a command that failed on purpose."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return lines[0].removeprefix("Error: ")


def test_import_creates_the_database_and_counts(run) -> None:
    counted, unreachable = run("users", "import", SAMPLE).stdout.splitlines()
    assert counted == "20 users: 20 created, 0 updated, 0 unchanged"
    assert unreachable.startswith("3 of them without an address")
    again = json.loads(run("users", "import", SAMPLE, "--json").stdout)
    assert again == {"created": 0, "updated": 0, "unchanged": 20, "total": 20, "unreachable": 3, "notes": []} | {
        **{"endedTokens": 0, "pausedCampaigns": [], "ongoingCampaigns": [], "waitingCampaigns": []},
        "erased": 0,
    }


def test_import_of_a_wrong_file_names_row_and_field(run, tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("_id,active\na,perhaps\n")
    assert failed(run("users", "import", "users.csv"), 1) == "row 2, field active: must be true or false"
    assert run("users", "list").stdout.splitlines() == ["_id  username  name  state"]


def test_list_shows_who_gets_mail_and_keeps_the_terminal(run, directory: Database) -> None:
    result = run("users", "list")
    assert result.stdout.splitlines() == [
        "_id  username  name        state",
        "ada  ada       Ada         subscribed",
        r"bob  bob       Bob\x1b[2J  deactivated",
        "zoe  -         Zoë         no valid address",
    ]
    assert result.stderr == "3 of 3 users\n"


def test_list_ends_at_its_limit(run, directory: Database) -> None:
    assert [line.split()[0] for line in run("users", "list", "--limit", "2").stdout.splitlines()] == [
        "_id",
        "ada",
        "bob",
    ]
    assert len(run("users", "list", "--json", "--limit", "0").stdout.splitlines()) == 3


def test_listed_json_can_be_imported_again(run, directory: Database, tmp_path: Path) -> None:
    (tmp_path / "out.ndjson").write_text(run("users", "list", "--json").stdout)
    assert json.loads(run("users", "import", "out.ndjson", "--json").stdout)["unchanged"] == 3


def test_show_tells_what_a_query_sees_and_that_they_unsubscribed(run, directory: Database) -> None:
    with directory.write() as connection:
        connection.execute(text("UPDATE users SET unsubscribed_at = 1500000000123 WHERE id = 'ada'"))
    lines = run("users", "show", "ada").stdout.splitlines()
    assert "state: unsubscribed" in lines
    assert "unsubscribed: 2017-07-14T02:40:00Z" in lines
    document = json.loads(run("users", "show", "zoe", "--json").stdout)
    assert document == {"_id": "zoe", "name": "Zoë", "createdAt": {"$date": 1420070400000}, "active": True}


def test_show_of_nobody_fails(run) -> None:
    assert failed(run("users", "show", "nobody"), 1) == "there is no user with the id or the username nobody"


def test_user_is_found_by_username_where_no_id_matches(run, directory: Database) -> None:
    people = [{"_id": "1", "username": "ann"}, {"_id": "ann", "username": "eve"}, {"_id": "3", "username": "two"}]
    upsert_documents(directory, enumerate([*people, {"_id": "4", "username": "two"}], 1))
    for named, user_id in {"ann": "ann", "eve": "ann", "1": "1"}.items():
        assert run("users", "show", named).stdout.splitlines()[0] == f"_id: {user_id}"
    assert run("tokens", "create", "--user", "eve").stdout.splitlines()[0] == "X-User-Id: ann"
    assert run("unsubscribes", "remove", "eve").stdout == "subscribed: ann\n"
    failed(run("users", "show", "two"), 1)  # whose it is cannot be told


def test_empty_directory_is_said_to_be_empty(run) -> None:
    assert run("users", "list").stderr.splitlines()[-1].startswith("There are no users yet; ")


def test_created_token_is_two_header_lines_that_authenticate(run, directory: Database) -> None:
    result = run("tokens", "create", "--user", "ada", "--permission", "send-mail", "--expires", "30d")
    user, token = re.fullmatch(r"X-User-Id: (\S+)\nX-Auth-Token: (\S+)\n", result.stdout).groups()
    assert Tokens(directory).authenticate(user, token).permissions == {"send-mail"}
    assert result.stderr == ""
    (known,) = Tokens(directory).list()
    assert known.expires_at - known.created_at == 30 * 86_400_000


def test_token_without_permission_says_so(run, directory: Database) -> None:
    result = run("tokens", "create", "--user", "ada")
    assert "--permission send-mail" in result.stderr
    assert Tokens(directory).list()[0].permissions == ()


@pytest.mark.parametrize("user", ["bob", "nobody"])
def test_token_needs_an_active_user(run, directory: Database, user: str) -> None:
    failed(run("tokens", "create", "--user", user), 1)
    assert Tokens(directory).list() == []


@pytest.mark.parametrize("span", ["30", "0d", "d", "-1d", "1.5d", "30y", "99999999w", "٣d"])
def test_wrong_time_span_is_a_usage_error(run, directory: Database, span: str) -> None:
    assert "no time span" in failed(run("tokens", "create", "--user", "ada", f"--expires={span}"), 2)


def test_token_list_shows_digests_and_no_token(run, directory: Database) -> None:
    token = Tokens(directory).create("ada", ["send-mail"])
    (known,) = Tokens(directory).list()
    line = run("tokens", "list").stdout.splitlines()[1].split()
    assert line[:3] == [known.digest[:16], "ada", "send-mail"]
    assert json.loads(run("tokens", "list", "--json").stdout)[0]["digest"] == known.digest
    assert token not in run("tokens", "list").stdout + run("tokens", "list", "--json").stdout


def test_revoke_deletes_the_token_with_that_digest_alone(run, directory: Database) -> None:
    tokens = Tokens(directory)
    tokens.create("ada", [])
    tokens.create("zoe", [])
    gone, kept = tokens.list()
    assert run("tokens", "revoke", gone.digest[:16]).stdout == "revoked: 1\n"
    assert tokens.list() == [kept]
    failed(run("tokens", "revoke", gone.digest[:16]), 1)


@pytest.mark.parametrize("digest", ["", "a", "abcdefg", "%%%%%%%%", "ABCDEF0123"])
def test_revoke_refuses_what_could_mean_many(run, directory: Database, digest: str) -> None:
    Tokens(directory).create("ada", [])
    failed(run("tokens", "revoke", digest), 2)
    assert len(Tokens(directory).list()) == 1


def test_config_check_shows_what_is_in_force_and_finds_all_well(run, tmp_path: Path) -> None:
    Path(".env").write_text("MAILER_TRANSPORT=failover:(smtp://ann:hunter2@127.0.0.1:1 memory:)\n")
    result = run("config", "check")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"folder: {tmp_path}",
        ".env: read",
        f"database: {tmp_path}/mailer.db",
        "transport: failover:(smtp://***@127.0.0.1:1 memory:)",
        "site: http://127.0.0.1:8000",
        "engine: local",
        "settings: ok",
        "database: ok",
        "state: ok",
        "transport: ok",
    ]
    assert "Note: MAILER_SITE_URL is not https: http://127.0.0.1:8000" in result.stderr
    answer = json.loads(run("config", "check", "--json").stdout)
    assert [answer[part] for part in ("settings", "database", "state", "transport")] == [None] * 4
    assert answer["inForce"]["database"] == f"{tmp_path}/mailer.db"
    assert len(answer["warnings"]) == 2
    assert "hunter2" not in json.dumps(answer) + result.output


def test_config_check_tries_the_folder_for_flight_records_and_leaves_nothing_in_it(run, monkeypatch, tmp_path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MAILER_STATE_DIR", str(tmp_path / "file"))
    assert re.fullmatch(rf"state: {tmp_path}/file/flight/\w+: Not a directory", failed(run("config", "check"), 1))
    monkeypatch.setenv("MAILER_STATE_DIR", str(tmp_path / "state"))
    assert run("config", "check").exit_code == 0
    assert [path for path in (tmp_path / "state").rglob("*") if not path.is_dir()] == []


def test_folder_without_locks_is_trouble(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)  # as on some network filesystems: it says yes to everybody
    assert failed(run("config", "check"), 1).endswith(": its files cannot be locked")
    refusal = OSError(errno.ENOLCK, "No locks available")
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(refusal))
    assert failed(run("config", "check"), 1).endswith(": No locks available")


@pytest.mark.parametrize(("kind", "place"), [("tmpfs", "memory"), ("overlay", "the container's own layer")])
def test_folder_that_goes_away_with_a_container_is_noted(
    run, monkeypatch, tmp_path: Path, kind: str, place: str
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / {tmp_path} rw shared:1 - {kind} x rw\n")
    monkeypatch.setattr(trial, "_MOUNTS", mounts)
    said = [line for line in run("config", "check").stderr.splitlines() if "MAILER_STATE_DIR" in line]
    assert [f" is in {place} and does not outlive a container; use a volume there" in line for line in said] == [True]
    mounts.write_text(f"1 0 0:2 / / rw - {kind} x rw\n2 1 8:1 / {tmp_path} rw - ext4 /dev/a rw\n")
    assert "MAILER_STATE_DIR" not in run("config", "check").stderr


def test_password_of_the_database_is_not_shown(run, monkeypatch: pytest.MonkeyPatch, postgresql_url: str) -> None:
    address = postgresql_url.replace("+psycopg", "").replace("root@", "root:hunter2@")
    monkeypatch.setenv("MAILER_DATABASE_URL", address)
    result = run("config", "check")
    assert (result.exit_code, "hunter2" in result.output) == (0, False), result.output
    assert f"database: {address.replace('hunter2', '***')}" in result.stdout.splitlines()


def test_config_check_shows_limits_and_how_much_is_used(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MAILER_TRANSPORT", f"file:{tmp_path}/out?rate=50/second&quota=10000/day&warmup=200/day*2")
    told = "quota 10000/day, warmup 200/day*2; warm-up since the first message: day 1 with mail; 0 of 200 used today"
    assert f"rates: file {tmp_path}/out: rate 50/second, {told}" in run("config", "check").stdout.splitlines()


def test_config_check_shows_when_how_fast_and_for_how_long_where_that_is_set(run, monkeypatch) -> None:
    given = {"domain_rates": "gmail.com=20/second, b.org=6/minute", "retention": "90d", "metrics": "127.0.0.1:9100"}
    for name, value in {**given, "send_window": "00:00-24:00 UTC"}.items():
        monkeypatch.setenv(f"MAILER_{name.upper()}", value)
    shown = run("config", "check").stdout.splitlines()
    expected = {"domainRates": "gmail.com 20/second, b.org 0.1/second", "retention": "90 days", "sendWindow": "open"}
    assert {f"{name}: {value}" for name, value in expected.items()} | {"metrics: 127.0.0.1:9100"} <= set(shown)


def test_quota_that_is_used_up_is_no_trouble_with_the_settings(run, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MAILER_TRANSPORT", f"file:{tmp_path}/out?quota=1/day")
    run("config", "check")  # it makes the database
    with closing(database_at(f"sqlite:///{tmp_path}/mailer.db")) as db:
        transport = from_url(f"file:{tmp_path}/out?quota=1/day")
        share(transport, SharedSlots(db))
        list(transport.send([Message("1", "a@example.com", "b@example.com", b"x")]))
    result = run("config", "check")
    assert (result.exit_code, "transport: ok" in result.stdout.splitlines()) == (0, True)
    assert "1 of 1 used today" in result.stdout


def test_config_check_without_env_file_says_so(run) -> None:
    assert run("config", "check").stdout.splitlines()[1] == ".env: none there"


@pytest.mark.parametrize("where", ["environment", ".env"])
def test_setting_that_there_is_not_is_exit_code_2_with_the_nearest(run, monkeypatch, where: str) -> None:
    if where == ".env":
        Path(".env").write_text("MAILER_TRANSPROT=console:\n")
    else:
        monkeypatch.setenv("MAILER_TRANSPROT", "console:")
    said = "MAILER_TRANSPROT: there is no such setting; did you mean MAILER_TRANSPORT?"
    assert failed(run("config", "check"), 2) == said
    checked = run("config", "check", "--json")
    assert (checked.exit_code, json.loads(checked.stdout)["settings"]) == (2, said)
    listed = run("users", "list")
    assert (listed.exit_code, listed.stderr.splitlines()[0]) == (0, f"Warning: {said}")


def test_wrong_setting_and_one_that_there_is_not_are_both_named(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_WORKERS", "many")
    monkeypatch.setenv("MAILER_CHEKPOINT", "3")
    said = failed(run("config", "check"), 2)
    assert said.startswith("MAILER_WORKERS: 'many'")
    assert said.endswith("; MAILER_CHEKPOINT: there is no such setting; did you mean MAILER_CHECKPOINT?")


def test_database_that_is_made_anew_is_named_once(run, tmp_path: Path) -> None:
    assert f"Note: A new database was made: {tmp_path}/mailer.db" in run("users", "list").stderr.splitlines()
    assert "new database" not in run("users", "list").stderr


@pytest.mark.parametrize(
    ("name", "value"), [("BATCH_SIZE", "none"), ("DATABASE_URL", "mysql://x/y"), ("TRANSPORT", "pigeon:")]
)
def test_wrong_setting_is_exit_code_2_and_names_the_key(run, monkeypatch: pytest.MonkeyPatch, name, value) -> None:
    monkeypatch.setenv(f"MAILER_{name}", value)
    assert f"MAILER_{name}" in failed(run("config", "check"), 2)


def test_transport_that_does_not_answer_is_exit_code_1(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_TRANSPORT", "smtp://127.0.0.1:1")
    result = run("config", "check", "--json")
    assert failed(result, 1).startswith("transport: ")
    assert json.loads(result.stdout)["transport"]


def test_users_need_no_transport_that_works(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_TRANSPORT", "file:./missing/folder")
    assert run("users", "list").exit_code == 0


def test_database_that_cannot_be_opened_is_exit_code_1_without_a_statement(run, monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "mailer.db").write_bytes(b"no database at all, but long enough to be looked at" * 20)
    assert failed(run("users", "list"), 1) == f"database: file is not a database ({tmp_path}/mailer.db)"


def test_postgresql_that_does_not_answer_is_exit_code_1(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_DATABASE_URL", "postgresql://someone:secret-word@127.0.0.1:1/x")
    result = run("users", "list")
    assert failed(result, 1).startswith("database: ")
    assert "secret-word" not in result.output


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--bogus"], "No such option '--bogus' (see mailer --help)"),
        (["nonsense"], "No such command 'nonsense' (see mailer --help)"),
        (["users", "import"], "Missing argument 'FILE' (see mailer users import --help)"),
        (["purge", "--older-than", "x"], "not a number of days like 90d (see mailer purge --help)"),
        (["campaigns", "export", "--format", "pdf", "x"], "(see mailer campaigns export --help)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_misuse_is_one_line_that_says_where_to_look(run, arguments: list[str], line: str) -> None:
    result = run(*arguments)
    assert failed(result, 2).endswith(line)
    assert result.stderr.count("\n") == 1


def test_help_tells_the_exit_codes(run) -> None:
    assert "Exit codes:" in run("--help").stdout


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (5, "5"),
        ("Zoë", "Zoë"),
        ("a\nb", r"a\nb"),
        ("\x1b[0m", r"\x1b[0m"),
        ("\u202e", r"\u202e"),
        ("👩\u200d💻", "👩\u200d💻"),
    ],
)
def test_printable_leaves_nothing_that_steers_a_terminal(value: object, shown: str) -> None:
    assert printable(value) == shown


@pytest.mark.parametrize(("ms", "shown"), [(None, "-"), (0, "1970-01-01T00:00:00Z"), (-1, "1969-12-31T23:59:59Z")])
def test_moment_is_iso_to_the_second(ms: int | None, shown: str) -> None:
    assert moment(ms) == shown


@pytest.mark.parametrize(
    ("cell", "width"),
    [("Zoë", 3), ("Zoe\u0308", 3), ("山田", 4), ("한글", 4), ("ＡＢ", 4), ("👍", 2), ("👩\u200d💻", 2), ("", 0)],
    ids=["latin", "combining", "japanese", "korean", "full width", "emoji", "joined emoji", "empty"],
)
def test_table_is_aligned_by_the_columns_of_a_terminal(
    capsys: pytest.CaptureFixture[str], cell: str, width: int
) -> None:
    print_rows(("name", "state"), [(cell, "a"), ("longest one", "b")])
    assert capsys.readouterr().out.splitlines()[1] == cell + " " * (len("longest one") - width) + "  a"


@pytest.mark.slow
def test_name_that_the_output_cannot_hold_is_escaped(run, directory: Database) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}

    def printed(*arguments: str) -> bytes:
        return subprocess.run([BIN / "mailer", *arguments], check=True, env=environment, stdout=subprocess.PIPE).stdout

    upsert_documents(directory, [(1, {"_id": "yama", "name": "山"})])
    assert rb"\u5c71" in printed("users", "list")
    assert json.loads(printed("users", "show", "yama", "--json"))["name"] == "山"


def test_records_are_spelled_as_in_the_api(run, directory: Database) -> None:
    Tokens(directory).create("ada", ["send-mail"], 1000)
    (token,) = json.loads(run("tokens", "list", "--json").stdout)
    spelled = ("digest", "userId", "permissions", "createdAt", "expiresAt", "lastUsedAt", "label")
    assert set(token) == {*spelled, "endsSoon", "held"}
    assert re.fullmatch(r"20..-..-..T..:..:..\....Z", token["createdAt"])
    assert run("tokens", "list").stdout.split()[:7] == list(spelled)
    deliveries = DeliverySchema()
    assert {field.data_key or name for name, field in deliveries.fields.items()} == set(COLUMNS)
