"""One version beside the next on one database: both serve and both deliver, and everybody is reached once.

The next version is a copy of this one with a migration more, which only adds. The one after that takes something away.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft
from mailer.campaigns.planning import Planner
from mailer.selector import database_at
from mailer.storage.database import newest_version
from mailer.storage.migrations.upgrade import oldest_served
from tests.killable import attempts
from tests.recording_smtp import RecordingServer, recording_smtp
from tests.service import ROOT, Service

pytestmark = pytest.mark.slow

USERS = 30
PARTS = ("mailer", "transports", "app.py", "wsgi.py", "gunicorn.conf.py")
MODELS = "mailer/storage/models/campaigns.py"
VERSIONS = "mailer/storage/migrations/versions"
EXPANDING = '''"""Adds what older code need not know."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, serves_from = "9001", "{head}", "{head}"


def upgrade() -> None:
    op.add_column("campaigns", sa.Column("colour", sa.Text(), nullable=False, server_default="grey"))
    op.create_table("colours", sa.Column("name", sa.Text(), primary_key=True))
'''
CONTRACTING = '''"""Takes away what older code uses: it serves that code no more."""

from alembic import op

revision, down_revision = "9002", "9001"


def upgrade() -> None:
    op.drop_index("ix_campaigns_caller", "campaigns")
'''


def next_version(folder: Path) -> Path:
    """A copy of the code with an expanding migration, whose column new campaigns are given a value for."""
    folder.mkdir()
    for part in PARTS:
        copied = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copied(ROOT / part, folder / part)
    (folder / VERSIONS / "9001_expand.py").write_text(EXPANDING.format(head=newest_version()))
    models = (folder / MODELS).read_text()
    new = '    colour: Mapped[str] = mapped_column(Text, default="blue")\n'
    (folder / MODELS).write_text(models.replace("    dry_run: Mapped[bool]\n", f"    dry_run: Mapped[bool]\n{new}", 1))
    return folder


@dataclass
class Version:
    """A service, and the mail server that only it sends to."""

    service: Service
    mail: RecordingServer


@pytest.fixture
def versions(database_url: str, tmp_path: Path, add_users: Any) -> Iterator[tuple[Version, Version]]:
    """This version and the next on one database; neither runs yet."""
    with closing(database_at(database_url)) as db:
        add_users(db, USERS)
    made = []
    with ExitStack() as stack:
        for name, code, rate in (("old", ROOT, 10), ("new", next_version(tmp_path / "next"), 20)):
            (tmp_path / name).mkdir()
            mail = stack.enter_context(recording_smtp(tmp_path))
            settings = {"transport": f"{mail.url}?starttls=never&rate={rate}/second", "batch_size": 4, "checkpoint": 2}
            service = Service(tmp_path / name, database_url=database_url, code=code, **settings)
            stack.callback(service.close)
            made.append(Version(service, mail))
        yield made[0], made[1]


@pytest.mark.ci
def test_old_and_new_version_serve_and_deliver_together(versions: tuple[Version, Version]) -> None:
    old, new = (version.service for version in versions)
    draft = Draft("", "news@example.com", "before", "Hello [name] [unsubscribe]", {}, False)
    headers = old.headers("user00000", "send-mail")
    accept(old.db, "user00000", draft)
    Planner(old.db, 4, 1000).plan_next()  # by this version, which goes on when the next one has migrated
    new.start()
    old.start()
    posted = [old.post(headers, subject="by the old"), new.post(headers, subject="by the new")]

    ends = [new.finish(headers, posted[0]), old.finish(headers, posted[1])]

    assert [(end["state"], end["sent"]) for end in ends] == 2 * [("completed", USERS)]
    for _ in attempts(20):
        copies = [version.mail.copies() for version in versions]
        if sum(map(Counter.total, copies)) == 3 * USERS:
            break
    assert all(copies)
    assert (copies[0] + copies[1]) == Counter({f"user{number:05d}@example.com": 3 for number in range(USERS)})
    assert colours(new) == {"before": "grey", "by the old": "grey", "by the new": "blue"}
    said = f"the schema is at 9001, newer than this version's {newest_version()}, which it still serves"
    assert said in old.output.read_text()


def colours(service: Service) -> dict[str, str]:
    with service.db.read() as connection:
        return dict(connection.exec_driver_sql("SELECT subject, colour FROM campaigns").all())


def test_migration_says_which_version_it_serves_and_else_none(tmp_path: Path) -> None:
    code = next_version(tmp_path / "next")
    config = Config()
    config.set_main_option("script_location", str((code / VERSIONS).parent))
    expanded = oldest_served(ScriptDirectory.from_config(config))
    (code / VERSIONS / "9002_contract.py").write_text(CONTRACTING)

    assert expanded == newest_version()
    assert oldest_served(ScriptDirectory.from_config(config)) == "9002"
