"""Settings: read once, frozen, and a bad one named in a line."""

import stat
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from app import build
from mailer.errors import ConfigError
from mailer.settings import Settings


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
    ("ENGINE", "carrier-pigeon"),
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
