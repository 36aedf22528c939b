"""Settings: read once, frozen, and a bad one named in a line."""

import stat
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from app import build
from mailer.errors import ConfigError
from mailer.settings import Settings
from tests.service import ROOT


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_defaults_need_nothing_but_a_place_for_the_key(tmp_path: Path) -> None:
    settings = Settings.from_env()
    assert (settings.transport, settings.batch_size, settings.rate_limit) == ("console:", 500, "10/minute")
    kept = tmp_path / "instance" / "secret.key"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert settings.secret_key == (kept.read_text(),)
    assert Settings.from_env().secret_key == settings.secret_key
    assert list(kept.parent.iterdir()) == [kept]


BAD = [
    ("CHECKPOINT", "0"),
    ("CHECKPOINT", "many"),
    ("BATCH_SIZE", "-1"),
    ("WORKERS", "1.5"),
    ("ENGINE", "carrier\tpigeon"),
    ("SITE_URL", "ftp://example.com"),
    ("SITE_URL", "https://example.com/?a=b"),
    ("SITE_URL", "https://example.com/<b>"),
    ("SITE_NAME", "a\tb"),
    ("RATE_LIMIT", "often"),
    ("UNCERTAIN", "perhaps"),
    ("MAX_FAILURE_RATE", "0"),
    ("MAX_FAILURE_RATE", "1.1"),
    ("ALLOWED_SENDERS", "example.com"),
    ("EMAIL_HEADER", "missing.html"),
    ("LEASE_SECONDS", "1"),
    ("AUTH", "none"),
    ("SEND_ROLES", "a\tb"),
    ("WORKSPACE_URL", "chat.example.com"),
    ("WORKSPACE_URL", "http://[::1"),
    ("WORKSPACE_URL", "http://chat.example.com:port"),
    ("SITE_URL", "https://example.com:99999"),
    ("SITE_URL", "https://a..münchen.example"),
    ("SITE_URL", "https://münchen.example/ü"),
    ("SITE_URL", "https://münchen.example/?a"),
    ("WORKSPACE_USER_ID", "ü"),
    ("MAX_BODY_BYTES", "1 MiB"),
    ("SYNC_EVERY", "59s"),
    ("SYNC_EVERY", "0"),
    ("SYNC_EVERY", "15 m"),
    ("SYNC_EVERY", "2w"),
    ("SYNC_EVERY", "366d"),
    ("SYNC_EVERY", "9" * 400),
    ("SYNC_EVERY", "hourly"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_value_is_named_with_its_key(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"MAILER_{name}", value)
    with pytest.raises(ConfigError) as refused:
        Settings.from_env()
    assert str(refused.value).startswith(f"MAILER_{name}: {value!r}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", "hunter2"),
        ("DATABASE_URL", "u:hunter2"),
        ("TRANSPORT", "x\thunter2"),
        ("WORKSPACE_TOKEN", "ühunter2"),
        ("WORKSPACE_URL", "https://u:hunter2@chat.example.com"),
    ],
)
def test_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"MAILER_{name}", value)
    with pytest.raises(ConfigError) as refused:
        Settings.from_env()
    assert f"MAILER_{name}" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_repr_shows_no_secret() -> None:
    settings = Settings(
        secret_key=("s" * 40,),
        transport="smtp://u:hunter2@h",
        workspace_token="hunter2",
        database_url="postgresql://u:hunter2@h/d",
    )
    assert "hunter2" not in repr(settings)
    assert "sss" not in repr(settings)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("https://münchen.example/post", "https://xn--mnchen-3ya.example/post"),
        ("https://MÜNCHEN.example:8443", "https://xn--mnchen-3ya.example:8443"),
        ("http://例え.jp/", "http://xn--r8jz45g.jp/"),
        ("https://straße.example", "https://xn--strae-oqa.example"),
        ("https://xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
@pytest.mark.parametrize("name", ["SITE_URL", "WORKSPACE_URL"])
def test_international_host_of_an_address_is_taken(
    monkeypatch: pytest.MonkeyPatch, name: str, given: str, taken: str
) -> None:
    monkeypatch.setenv(f"MAILER_{name}", given)

    assert getattr(Settings.from_env(), name.lower()) == taken


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().workers = 2  # type: ignore[misc]


def test_dotenv_is_read_and_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_WORKERS", "3")
    monkeypatch.setenv("MAILER_CHECKPOINT", "7")
    monkeypatch.delenv("MAILER_CHECKPOINT")
    (tmp_path / ".env").write_text("MAILER_WORKERS=2\nMAILER_CHECKPOINT=9\n")
    settings = Settings.from_env()
    assert (settings.workers, settings.checkpoint) == (3, 9)


def test_lists_are_split_and_an_empty_rate_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_ALLOWED_SENDERS", "a@example.com, @example.org")
    monkeypatch.setenv("MAILER_SECRET_KEY", f"{'n' * 32}, {'o' * 32}")
    monkeypatch.setenv("MAILER_RATE_LIMIT", "")
    monkeypatch.setenv("MAILER_WORKERS", "")
    settings = Settings.from_env()
    assert settings.allowed_senders == ("a@example.com", "@example.org")
    assert settings.secret_key == ("n" * 32, "o" * 32)
    assert (settings.rate_limit, settings.workers) == ("", 1)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("1m", 60), ("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86_400), ("600", 600), ("", None)],
)
def test_sync_is_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch, value: str, seconds: int | None) -> None:
    monkeypatch.setenv("MAILER_SYNC_EVERY", value)
    assert Settings.from_env().sync_every == seconds


@pytest.mark.parametrize(
    ("name", "most"),
    [("MAILER_AUDIENCE_TIMEOUT", "3600 s"), ("MAILER_PLANNING_TIMEOUT", "1 d"), ("MAILER_SYNC_EVERY", "365 d")],
)
def test_duration_that_is_out_of_range_is_told_the_range(monkeypatch: pytest.MonkeyPatch, name: str, most: str) -> None:
    monkeypatch.setenv(name, "9999d")
    with pytest.raises(ConfigError, match=rf"from \d+ s to {most}\."):
        Settings.from_env()


WORKSPACE = {"workspace_url": "http://x", "workspace_user_id": "u", "workspace_token": "t"}


@pytest.mark.parametrize("missing", WORKSPACE)
def test_scheduled_sync_needs_a_workspace(tmp_path: Path, missing: str) -> None:
    values = {**WORKSPACE, missing: ""}
    settings = Settings(database_url=f"sqlite:///{tmp_path}/m.db", secret_key=("k" * 40,), sync_every=60, **values)
    with pytest.raises(ConfigError) as refused:
        build(settings)
    assert str(refused.value) == f"MAILER_SYNC_EVERY: needs MAILER_{missing.upper()}"


def test_header_and_footer_are_read_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "head.html").write_text("<h1>ü</h1>", "utf-8")
    monkeypatch.setenv("MAILER_EMAIL_HEADER", "head.html")
    assert Settings.from_env().email_header == "<h1>ü</h1>"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"MAILER_WORKERS=2\nMAILER_CHECKPOINT: 9\n", "line 2: not NAME=VALUE"),
        (b'MAILER_SITE_NAME="News\nMAILER_CHECKPOINT=9\n', "line 1: not NAME=VALUE"),
        ("MAILER_SITE_NAME=Zoë\n".encode("cp1252"), "not UTF-8"),
        (b"\xef\xbb\xbfMAILER_WORKERS=2\n", "byte-order mark"),
    ],
    ids=["colon", "open quote", "cp1252", "byte-order mark"],
)
def test_env_file_of_which_a_line_would_be_lost_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^\.env: .*{problem}"):
        Settings.from_env()


def test_env_file_that_is_a_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(ConfigError, match=r"^\.env: Is a directory$"):
        Settings.from_env()


def test_environment_is_not_changed_by_the_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MAILER_WORKERS=2\n")
    assert Settings.from_env().workers == 2
    (tmp_path / ".env").write_text("MAILER_WORKERS=3\n")
    assert Settings.from_env().workers == 3


REMOTE = "failover:(smtp://127.0.0.1:1 smtp://relay.example)"


def made(folder: Path, **values: Any) -> Settings:
    return Settings(database_url=f"sqlite:///{folder}/m.db", secret_key=("k" * 40,), **values)


@pytest.mark.parametrize("site", ["http://127.0.0.1:8000", "https://localhost", "http://[::1]:8000", "http://0.0.0.0"])
def test_links_to_this_machine_do_not_leave_it_by_smtp(tmp_path: Path, site: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build(made(tmp_path, transport=REMOTE, site_url=site))
    assert str(refused.value).startswith(f"MAILER_SITE_URL: {site}: recipients elsewhere cannot follow")
    assert "MAILER_ALLOW_LOCAL_LINKS=true" in str(refused.value)


@pytest.mark.parametrize(
    "values",
    [
        {"transport": REMOTE, "allow_local_links": True},
        {"transport": REMOTE, "site_url": "https://news.example.com"},
        {"transport": "smtp://localhost:1025"},
    ],
    ids=["allowed", "elsewhere", "smtp to this machine"],
)
def test_links_that_can_be_followed_start(tmp_path: Path, values: dict[str, Any]) -> None:
    services = build(made(tmp_path, **values))
    services.transport.close()
    services.db.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("transport", "told"),
    [("smtp://127.0.0.1", 2), ("failover:(file:x smtp://127.0.0.1)", 2), ("console:", 0)],
)
def test_start_under_smtp_warns_once_of_an_address_without_https(tmp_path: Path, transport: str, told: int) -> None:
    code = "from mailer.settings.advice import settings_with_warnings as read; read(); read()"
    named = {"MAILER_TRANSPORT": transport, "MAILER_SITE_URL": "http://news.example.com", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=named, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = done.stderr.splitlines()
    assert (done.returncode, len(said)) == (0, told), done.stderr
    assert not told or said[1].startswith("MAILER_SITE_URL is not https")


def test_new_database_is_said_to_be_new(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        build(made(tmp_path)).db.close()
    assert caplog.messages == [f"a new database was made: {tmp_path}/m.db"]
