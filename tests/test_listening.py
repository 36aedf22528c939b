"""An address that is taken is said in one line, and with no word from gunicorn."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailer.settings.listening import refusals
from tests.service import BIN, ROOT, Service

pytestmark = pytest.mark.slow


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of the loopback address at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


GUNICORN = [BIN / "gunicorn", "-c", ROOT / "gunicorn.conf.py", "--pythonpath", ROOT, "wsgi:app"]


@pytest.mark.parametrize("command", [[BIN / "mailer", "serve"], GUNICORN], ids=["mailer serve", "gunicorn"])
def test_port_in_use_is_one_line(tmp_path: Path, taken: int, command: list[Path]) -> None:
    service = Service(tmp_path, transport="memory:")
    options = {"cwd": tmp_path, "env": service.environment, "capture_output": True, "text": True, "timeout": 60}
    done = subprocess.run([*command, "--bind", f"127.0.0.1:{taken}"], check=False, **options)
    service.close()
    said = f"mailer: cannot listen at 127.0.0.1:{taken}: address already in use\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"MAILER_TRANSPORT": "pigeon:"}, "mailer: MAILER_TRANSPORT: unknown transport scheme 'pigeon'"),
        ({"MAILER_DATABASE_URL": "postgresql://ann:hunter2@127.0.0.1:1/x"}, "mailer: database: connection"),
        ({"MAILER_DATABASE_URL": "sqlite:////proc/none/mailer.db"}, "mailer: /proc/none: No such file or directory"),
    ],
    ids=["transport", "postgresql", "sqlite"],
)
def test_start_that_fails_is_one_line(tmp_path: Path, setting: dict[str, str], said: str) -> None:
    service = Service(tmp_path)
    environment = service.environment | {"MAILER_TRANSPORT": "memory:"} | setting
    service.close()
    command = [*GUNICORN, "--bind", "127.0.0.1:0"]
    done = subprocess.run(
        command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode
    assert done.stderr.startswith(said)
    assert (done.stderr.count("\n"), "hunter2" in done.stderr) == (1, False)


def test_setting_that_there_is_not_is_warned_of_once(tmp_path: Path) -> None:
    with Service(tmp_path, transport="memory:", workers=2, checkpiont=3) as service:
        service.stop()
        said = "MAILER_CHECKPIONT: there is no such setting; did you mean MAILER_CHECKPOINT?"
        assert service.output.read_text().count(said) == 1


def test_address_that_is_free_is_not_refused(taken: int) -> None:
    free = ("127.0.0.1", 0)
    assert list(refusals([free, "unix:/tmp/x", 3])) == []
    assert len(list(refusals([free, ("127.0.0.1", taken), ("203.0.113.1", 80), ("127.0.0.1", 70_000)]))) == 3


@pytest.mark.parametrize("bind", ["127.0.0.1:x", "127.0.0.1:70000", "127.0.0.1:", "[::1]:-1"])
def test_port_that_is_none_is_misuse(tmp_path: Path, bind: str) -> None:
    service = Service(tmp_path)
    command = [BIN / "mailer", "serve", "--bind", bind]
    options = {"cwd": tmp_path, "env": service.environment, "capture_output": True, "text": True, "timeout": 60}
    done = subprocess.run(command, check=False, **options)
    service.close()
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "is not HOST:PORT" in done.stderr
