"""Secrets that are given by files: `MAILER_SECRET_KEY_FILE` and its like."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.errors import ConfigError
from mailer.settings import SECRET_VARIABLES, Settings, secret_file_warnings, secret_files, unknown_settings
from tests.doc_pages import ROOT, codes, section, table
from tests.service import BIN

SECRETS = {
    "MAILER_BOUNCES_MAILGUN_KEY": "hunter2" * 4,
    "MAILER_BOUNCES_MAILJET_SECRET": "hunter2" * 4,
    "MAILER_BOUNCES_POSTMARK_SECRET": "hunter2" * 4,
    "MAILER_BOUNCES_SPARKPOST_SECRET": "hunter2" * 4,
    "MAILER_BOUNCE_MAILBOX_PASSWORD": "hunter2",
    "MAILER_BROKER_URL": "amqp://mailer:hunter2@rabbitmq.example.com/mailer",
    "MAILER_SECRET_KEY": "hunter2" * 8,
    "MAILER_DATABASE_URL": "postgresql://mailer:hunter2@db.example.com/mailer",
    "MAILER_LISTEN_URL": "postgresql://mailer:hunter2@db.example.com/mailer",
    "MAILER_TRANSPORT": "smtp://news:hunter2@mail.example.com",
    "MAILER_WORKSPACE_TOKEN": "hunter2",
}
NAMES = sorted(SECRETS)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def kept(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def field(name: str) -> object:
    value = getattr(Settings.from_env(), name.removeprefix("MAILER_").lower())
    return value[0] if isinstance(value, tuple) else value


def refusal() -> str:
    with pytest.raises(ConfigError) as refused:
        Settings.from_env()
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_every_secret_has_an_example_here_and_stands_in_the_reference() -> None:
    rows = table(section(ROOT / "docs" / "reference" / "settings.md", "Secrets in files"), "variable")
    assert [codes(row[0])[0] for row in rows] == [f"{name}_FILE" for name in SECRET_VARIABLES]
    assert set(NAMES) <= set(SECRET_VARIABLES)


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("name", NAMES)
def test_secret_is_read_from_the_file_without_its_line_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, end: str
) -> None:
    monkeypatch.setenv(f"{name}_FILE", str(kept(tmp_path, (SECRETS[name] + end).encode())))

    assert field(name) == SECRETS[name]
    assert unknown_settings() == ()
    assert secret_file_warnings() == ()


def test_env_file_may_name_it_by_a_path_from_its_folder(tmp_path: Path) -> None:
    kept(tmp_path, b"smtp://a.example.com")
    (tmp_path / ".env").write_text("MAILER_TRANSPORT_FILE=secret\n")

    assert Settings.from_env().transport == "smtp://a.example.com"


def test_empty_variable_counts_as_absent_on_either_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_TRANSPORT_FILE", "")
    assert Settings.from_env().transport == "console:"
    monkeypatch.setenv("MAILER_TRANSPORT", "")
    monkeypatch.setenv("MAILER_TRANSPORT_FILE", str(kept(tmp_path, b"memory:")))
    assert Settings.from_env().transport == "memory:"


@pytest.mark.parametrize("name", NAMES)
def test_both_ways_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, SECRETS[name])
    monkeypatch.setenv(f"{name}_FILE", str(kept(tmp_path, SECRETS[name].encode())))

    assert refusal() == f"{name}_FILE: {name} is set too; keep one of them"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"\n", "the file is empty"),
        (b"hunter2\xff", "the file is not UTF-8"),
        (b"k" * 70_000, "the file has more than 65536 bytes"),
        (None, "there is no such file"),
    ],
    ids=["empty", "a line end", "bytes", "large", "folder"],
)
def test_file_without_a_secret_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, problem: str
) -> None:
    path = tmp_path if content is None else kept(tmp_path, content)
    monkeypatch.setenv("MAILER_SECRET_KEY_FILE", str(path))

    assert refusal() == f"MAILER_SECRET_KEY_FILE: {problem}"


def test_pipe_is_refused_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("MAILER_TRANSPORT_FILE", str(tmp_path / "pipe"))
    assert refusal() == "MAILER_TRANSPORT_FILE: there is no such file"


@pytest.mark.parametrize("name", NAMES)
def test_secret_in_place_of_the_path_is_not_repeated(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"{name}_FILE", SECRETS[name])
    assert refusal().startswith(f"{name}_FILE: ")


@settings(deadline=None)
@given(value=st.text(st.characters(exclude_characters="\0"), min_size=12))
def test_whatever_stands_in_place_of_the_path_is_not_repeated(value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        secret_files.read({"MAILER_X_FILE": f"hunter2/{value}"}, ["MAILER_X"])
    assert value not in str(refused.value).partition(": ")[2]


@pytest.mark.parametrize(("name", "value"), [("SECRET_KEY", b"hunter2"), ("DATABASE_URL", b"u:hunter2")])
def test_bad_secret_is_told_by_the_name_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: bytes
) -> None:
    monkeypatch.setenv(f"MAILER_{name}_FILE", str(kept(tmp_path, value)))
    assert refusal().startswith(f"MAILER_{name}_FILE: the value: ")


@pytest.mark.parametrize(("mode", "told"), [(0o600, 0), (0o400, 0), (0o640, 0), (0o644, 1), (0o444, 1)])
def test_file_that_everybody_may_read_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, told: int
) -> None:
    monkeypatch.setenv("MAILER_TRANSPORT_FILE", str(kept(tmp_path, b"memory:", mode)))

    assert Settings.from_env().transport == "memory:"
    assert len(secret_file_warnings()) == told
    assert all(warning.startswith("MAILER_TRANSPORT_FILE: ") for warning in secret_file_warnings())


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="root may become another user")
def test_file_of_another_user_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = kept(tmp_path, b"hunter2")
    lines = ("import os", "from mailer.settings import secret_files", "os.setuid(65534)")
    code = "\n".join([*lines, f"secret_files.read({{'MAILER_X_FILE': {str(path)!r}}}, ['MAILER_X'])"])
    command = [BIN / "python", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith("MAILER_X_FILE: the file cannot be read: Permission denied"), (
        done.stderr
    )


@pytest.mark.slow
def test_config_check_shows_the_place_without_the_password_and_the_warning(tmp_path: Path) -> None:
    kept(tmp_path, b"file:./outbox", 0o644)
    named = {"MAILER_TRANSPORT_FILE": "secret", "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = [BIN / "mailer", "config", "check", "--json"]
    done = subprocess.run(command, env=named, cwd=tmp_path, capture_output=True, text=True, check=False)
    shown = json.loads(done.stdout)
    assert shown["inForce"]["transport"] == "file:./outbox"
    assert [warning for warning in shown["warnings"] if "MAILER_TRANSPORT_FILE" in warning]
