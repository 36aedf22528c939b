"""Part 7: a big directory: importing it, and planning a campaign for a part of it."""

from __future__ import annotations

import importlib
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from bench import directory, newsletter
from bench.figures import Figure, Part, Ratio, in_turn
from bench.scale import Bench
from bench.service import CALLER
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft
from mailer.campaigns.planning import Planner as CampaignPlanner
from mailer.directory.imports import import_users
from mailer.selector import database_at
from mailer.settings import Settings
from mailer.storage.postgresql import connect

TITLE = "7. The audience: import and planning"
POSTGRESQL = "postgresql+psycopg://root@127.0.0.1/test"
MATCHED_IN_PYTHON = 20_000


def selector(users: int) -> dict[str, Any]:
    """A role and a date: an eighth of the users."""
    middle = newsletter.FIRST_CREATED + users // 2 * newsletter.CREATED_EVERY
    return {"roles": "moderator", "createdAt": {"$gte": {"$date": middle}}}


@contextmanager
def postgresql() -> Iterator[str | None]:
    """The URL of an empty database on BENCH_POSTGRESQL, dropped afterwards; None if no server answers."""
    server = os.environ.get("BENCH_POSTGRESQL", POSTGRESQL)
    name = f"mailer_bench_{secrets.token_hex(6)}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except OperationalError:
        yield None
        return
    try:
        yield f"{server.rpartition('/')[0]}/{name}"
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


def make_big(bench: Bench) -> tuple[Path, float]:
    """The big SQLite directory, made by the importer from a file, and its users a second."""
    target = bench.work / "big.db"
    return target, _import(bench, directory.url_of(target))


def _import(bench: Bench, url: str) -> float:
    source = bench.work / "users.ndjson"
    if not source.exists():
        directory.write_documents(source, bench.scale.users)
    db = database_at(url)
    db.migrate()
    begun = time.perf_counter()
    result = import_users(db, source)
    seconds = time.perf_counter() - begun
    if db.engine.dialect.name == "postgresql":
        with connect(url) as connection:
            connection.execute("VACUUM ANALYZE users")  # autovacuum would, within a minute
    db.close()
    return result.created / seconds


class Planner:
    """Plans on one database again and again, as a worker does."""

    def __init__(self, url: str, users: int) -> None:
        self._db, self._settings = database_at(url), Settings()
        self._draft = Draft("", newsletter.SENDER, newsletter.SUBJECT, newsletter.HTML, selector(users), dry_run=False)

    def __call__(self) -> float:
        """Seconds to plan one campaign."""
        with self._db.write() as connection:
            for table in ("batches", "campaigns"):  # else those of part 4 are planned first
                connection.execute(text(f"DELETE FROM {table}"))
        accept(self._db, CALLER, self._draft)
        begun = time.perf_counter()
        planned = CampaignPlanner(self._db, self._settings.batch_size, self._settings.lease_seconds * 1000).plan_next()
        seconds = time.perf_counter() - begun
        assert planned
        return seconds

    def close(self) -> None:
        """Give back the connection."""
        self._db.close()


def _match(big: Path, users: int) -> float:
    """Seconds to read, parse and match all users by mongoquery, worked out from some of them."""
    query = importlib.import_module("mongoquery").Query(selector(users))
    count = min(users, MATCHED_IN_PYTHON)
    begun = time.perf_counter()
    with closing(sqlite3.connect(big)) as connection:
        for (described,) in connection.execute("SELECT document FROM users LIMIT ?", [count]):
            query.match(json.loads(described))
    return (time.perf_counter() - begun) / count * users


def measure(bench: Bench, big: Path, imported: float) -> Part:
    """Seconds to plan, and users imported a second."""
    users = bench.scale.users
    figures = [Figure("import into SQLite", "users/s", (imported,))]
    notes = [f"{users:,} users; the selector is {json.dumps(selector(users))}: an eighth of them."]
    with postgresql() as url, ExitStack() as opened:
        on_sqlite = opened.enter_context(closing(Planner(directory.url_of(big), users)))
        contestants: dict[str, Callable[[], float]] = {"plan on SQLite": on_sqlite}
        if url is None:
            notes.append("Left out: PostgreSQL (none answers at BENCH_POSTGRESQL).")
        else:
            figures.append(Figure("import into PostgreSQL", "users/s", (_import(bench, url),)))
            contestants["plan on PostgreSQL"] = opened.enter_context(closing(Planner(url, users)))
        if find_spec("mongoquery"):
            contestants["load and match with mongoquery"] = partial(_match, big, users)
        else:
            notes.append("Left out: mongoquery (pip: .[bench]).")
        results = in_turn(bench.scale.rounds, contestants)
    planned = [Figure(name, "s", tuple(values)) for name, values in results.items()]
    return Part("audience", TITLE, _ratios(figures, planned), (*figures, *planned), tuple(notes))


def _ratios(imports: list[Figure], plans: list[Figure]) -> tuple[Ratio, ...]:
    medians = {figure.name: figure.median for figure in plans}
    by_python = medians.pop("load and match with mongoquery", None)
    ratios = [Ratio(f"{figure.name}: users/s", figure.median, 20_000.0) for figure in imports]
    ratios += [Ratio(f"{name}: seconds", seconds, 1.5, at_most=True) for name, seconds in medians.items()]
    if by_python is not None:
        ratios += [
            Ratio(f"load and match with mongoquery / {name}", by_python / seconds, 50.0)
            for name, seconds in medians.items()
        ]
    return tuple(ratios)
