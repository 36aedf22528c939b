"""Debian's pgbouncer in front of the PostgreSQL server that tests use, and servers of their own to kill."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from bench.processes import free_port
from tests.databases import POSTGRESQL

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
USER = "postgres" if os.getuid() == 0 else None  # neither program runs as root


class Pooler:
    """A pgbouncer in transaction mode; each database has as many sessions as `pool` says, whoever asks."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, direct: str) -> str:
        """The address of the database at `direct`, by way of the pooler."""
        return f"postgresql://anybody@127.0.0.1:{self.port}/{make_url(direct).database}"

    def sessions(self, direct: str) -> list[tuple[Any, ...]]:
        """What the pooler's sessions keep beyond a transaction: settings, locks, statements, temporary tables."""
        with psycopg.connect(self.url(direct).partition("?")[0], autocommit=True, prepare_threshold=None) as connection:
            return connection.execute(_KEPT).fetchall()


# what pgbouncer itself sets in a session, as the client's start asks for
_KEPT = """
SELECT 'setting ' || name FROM pg_settings WHERE source = 'session'
  AND name NOT IN ('application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'standard_conforming_strings')
UNION ALL SELECT 'statement ' || statement FROM pg_prepared_statements
UNION ALL SELECT 'channel ' || channel FROM pg_listening_channels() AS channel
UNION ALL SELECT 'cursor ' || name FROM pg_cursors WHERE is_holdable
UNION ALL SELECT 'advisory lock' FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
UNION ALL SELECT 'table ' || relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()
"""


@contextmanager
def pgbouncer(folder: Path, pool: int) -> Iterator[Pooler]:
    """A pooler in front of the server that tests use. Skips the test where pgbouncer or the server is not there."""
    if PGBOUNCER is None:
        pytest.skip("no pgbouncer")
    server, port = make_url(POSTGRESQL), free_port()
    login = f"user={server.username}" + (f" password={server.password}" if server.password else "")
    settings = {"listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": "", "auth_type": "any"}
    settings |= {
        "pool_mode": "transaction",
        "default_pool_size": pool,
        "max_client_conn": 500,
        "query_wait_timeout": 30,
    }
    lines = [f"* = host={server.host or '127.0.0.1'} port={server.port or 5432} {login}", "[pgbouncer]"]
    lines += [f"{name} = {value}" for name, value in settings.items()]
    (folder / "pgbouncer.ini").write_text("\n".join(["[databases]", *lines]))
    command = [PGBOUNCER, *(["-u", USER] if USER else []), str(folder / "pgbouncer.ini")]
    with (folder / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_for(port, process, folder / "pgbouncer.log")
        yield Pooler(port)
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + 10
    while time.monotonic() < ends:
        assert process.poll() is None, log.read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(log.read_text())


class Server:
    """A PostgreSQL server in a folder of its own, which may be killed."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        self.port = free_port()

    def initialise(self) -> None:
        """Make an empty server."""
        self._run("initdb", "-D", self._folder, "-A", "trust", "-U", "root", "--no-sync")
        options = f"unix_socket_directories = ''\nlisten_addresses = '127.0.0.1'\nport = {self.port}\nfsync = off\n"
        with (self._folder / "postgresql.conf").open("a") as file:
            file.write(options)  # a killed process takes nothing from the system's cache

    def copy(self, other: Server, name: str) -> None:
        """Become a standby of `other`, which knows it by `name`."""
        source = f"host=127.0.0.1 port={other.port} user=root application_name={name}"
        self._run("pg_basebackup", "-D", self._folder, "-R", "-c", "fast", "--no-sync", "-d", source)
        with (self._folder / "postgresql.conf").open("a") as file:
            file.write(f"port = {self.port}\n")

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self._run("pg_ctl", "-D", self._folder, "-l", self._folder / "log", "-w", "start")

    def promote(self) -> None:
        """Make the standby a primary."""
        self._run("pg_ctl", "-D", self._folder, "-w", "promote")

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Execute a statement, and return its rows if it has any."""
        url = f"postgresql://root@127.0.0.1:{self.port}/postgres"
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def kill(self) -> None:
        """SIGKILL for the server and each of its processes, as at a power cut."""
        with suppress(OSError, ValueError):
            main = int((self._folder / "postmaster.pid").read_text().splitlines()[0])
            os.kill(main, signal.SIGSTOP)  # so that it makes no more of them
            children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
            for process in (main, *map(int, children)):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            (self._folder / "postmaster.pid").unlink()

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._programs / program), *map(str, arguments)]
        with tempfile.TemporaryFile() as output:  # a pipe would be kept open by the server
            done = subprocess.run(command, check=False, stdout=output, stderr=output, user=USER, cwd="/", timeout=60)
            output.seek(0)
            assert done.returncode == 0, output.read().decode()


@contextmanager
def servers(count: int) -> Iterator[list[Server]]:
    """Servers that are not made yet; killed in the end. Skips the test where PostgreSQL's programs are not there."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not programs:
        pytest.skip("no PostgreSQL server in /usr/lib/postgresql")
    place = Path(tempfile.mkdtemp(prefix="mailer-postgresql-"))
    made = []
    try:
        for number in range(count):
            folder = place / str(number)
            folder.mkdir(mode=0o700)
            if USER:
                place.chmod(0o755)
                shutil.chown(folder, USER)
            made.append(Server(programs[-1].parent, folder))
        yield made
    finally:
        for server in made:
            server.kill()
        shutil.rmtree(place, ignore_errors=True)
