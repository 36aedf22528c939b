"""Campaigns go out within the send window; urgent ones and dry runs at any time."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mailer.errors import ConfigError
from mailer.settings import Settings
from mailer.settings.send_window import SendWindow
from mailer.storage.database import Database
from mailer.storage.models import Priority
from tests.databases import migrated_sqlite
from tests.harness import Harness
from transports.memory import MemoryTransport

EVENING = int(datetime(2026, 6, 1, 17, 59, 59, tzinfo=UTC).timestamp() * 1000)  # a second before eight in Vienna
HOUR = 3_600_000
AddUsers = Callable[..., list[str]]


def within_hours(db: Database, **settings: Any) -> Harness:
    harness = Harness(db, send_window=SendWindow.parse("08:00-20:00 Europe/Vienna"), **settings)
    harness.now = EVENING
    return harness


def test_running_batch_stops_at_the_next_checkpoint(db: Database, add_users: AddUsers) -> None:
    add_users(db, 25)
    harness = within_hours(db)

    class Slow(MemoryTransport):
        """Each message takes a fifth of a second."""

        def send(self, messages: Any) -> Any:
            for message in messages:
                harness.now += 200
                yield harness.store.take(message)

    harness.deliver_through(Slow())
    harness.accept()
    harness.run()

    assert harness.counts() == {"pending": 19, "sent": 6}  # two checkpoints of three began before eight
    harness.now += 11 * HOUR
    harness.run()
    assert harness.counts() == {"pending": 19, "sent": 6}
    harness.now += HOUR
    harness.run()
    assert harness.counts() == {"sent": 25}


def test_urgent_campaigns_and_dry_runs_go_out_at_any_time(db: Database, add_users: AddUsers) -> None:
    add_users(db, 5)
    harness = within_hours(db)
    harness.now += HOUR
    waiting = harness.accept()
    harness.run()
    assert harness.arrived() == []

    harness.accept(dry_run=True)
    harness.run()
    assert harness.arrived() == ["news@example.com"]
    harness.accept(priority=Priority.URGENT)
    harness.run()
    assert len(harness.arrived()) == 6
    assert harness.progress().state == "completed"

    harness.campaign_id = waiting
    assert harness.counts() == {"pending": 5}


def test_campaign_says_what_it_waits_for(db: Database, add_users: AddUsers) -> None:
    from mailer.campaigns.progress import progress, recent

    add_users(db, 5)
    harness = within_hours(db)
    window = harness.settings.send_window
    harness.accept()
    harness.plan()
    assert progress(db, harness.campaign_id, window=window).reason is None

    harness.now += HOUR
    waits = "waits for the send window until 2026-06-02 08:00 Europe/Vienna"
    assert progress(db, harness.campaign_id, window=window).reason == waits
    assert [one.reason for one in recent(db, None, 10, 0, window=window)[0]] == [waits]
    assert progress(db, harness.campaign_id).reason is None


def test_what_a_dead_worker_was_sending_goes_on_record_at_night(db: Database, add_users: AddUsers) -> None:
    add_users(db, 5)
    harness = within_hours(db)
    harness.accept()
    harness.plan()
    claim = harness.outbox.claim()
    assert claim is not None
    harness.outbox.checkpoint(claim, [], harness.outbox.due_items(claim)[:2], 5)

    harness.now += HOUR
    harness.run()

    assert harness.counts() == {"pending": 3, "uncertain": 2}
    assert harness.arrived() == []


@pytest.mark.parametrize("text", ["08:00-20:00", "nights UTC", "08:00-20:00 Vienna"])
def test_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_SEND_WINDOW", text)
    with pytest.raises(ConfigError, match=r"^MAILER_SEND_WINDOW: "):
        Settings.from_env()


@pytest.mark.parametrize("open_now", [True, False])
def test_readiness_tells_the_window_and_does_not_warn_of_it(tmp_path: Path, open_now: bool) -> None:
    from app import create_app

    now = datetime.fromtimestamp(time.time(), UTC)
    begins = now - timedelta(hours=1) if open_now else now + timedelta(hours=2)
    hours = f"{begins:%H:%M}-{begins + timedelta(hours=6):%H:%M} UTC"
    url = migrated_sqlite(tmp_path / "mailer.db")
    settings = Settings(
        database_url=url,
        secret_key=("k" * 40,),
        transport="memory:",
        site_url="https://x.example",
        send_window=SendWindow.parse(hours),
    )
    app = create_app(settings)
    answer = app.test_client().get("/readyz").json
    app.extensions["mailer"].db.close()

    assert answer["sendWindow"].startswith("open until" if open_now else "closed until")
    assert answer["warnings"] == []
