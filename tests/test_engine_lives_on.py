"""Delivery threads over what nobody expects: they live on, say it once, and the others' mail goes out."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import text

from app import create_app
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft
from mailer.campaigns.progress import progress
from mailer.engines.local import LocalEngine
from mailer.settings import Settings
from tests.killable import attempts
from transports.memory import named_store

DRAFT = Draft("", "news@example.com", "Hi [fname]", "Hello [unsubscribe]", {}, False)


@pytest.fixture
def app(database_url: str) -> Flask:
    """A service over a memory transport of its own, not started."""
    settings = Settings(database_url=database_url, secret_key=("k" * 40,), transport="memory:lives-on", workers=2)
    named_store("lives-on").clear()
    return create_app(settings)


def test_campaign_put_past_the_api_does_not_stop_the_service(app: Flask, add_users) -> None:
    services = app.extensions["mailer"]
    add_users(services.db, 5)
    bad = accept(services.db, "user00000", DRAFT).campaign_id
    with services.db.write() as connection:
        connection.execute(text("UPDATE campaigns SET sender = 'nobody'"))
    good = accept(services.db, "user00000", replace(DRAFT, subject="Other")).campaign_id
    services.engine.start()
    for _ in attempts(60):
        states = [progress(services.db, one).state for one in (bad, good)]
        if states == ["resting", "completed"]:
            break
    assert states == ["resting", "completed"]
    assert services.engine.trouble() is None
    answer = app.test_client().get("/readyz")
    assert (answer.status_code, answer.get_json()["campaigns"]) == (200, "1 resting")
    assert services.engine.stop(20)
    services.db.close()


class Astray:
    """A deliverer that fails in a way that is no campaign's."""

    def __init__(self) -> None:
        self.runs = 0
        self.again = threading.Event()

    def run_next(self, _stopping: object) -> bool:
        """Fail."""
        self.runs += 1
        if self.runs > 1:
            self.again.set()
        raise LookupError("at ann@example.com")

    def heartbeat(self) -> None:
        """Nothing to hold."""


class Idle:
    """A planner with nothing to do."""

    def plan_next(self) -> bool:
        """Nothing waits."""
        return False

    def heartbeat(self) -> None:
        """Nothing to hold."""


def test_thread_outlives_an_error_that_is_no_campaigns_and_says_it_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr("mailer.engines.local.PAUSE_AFTER_TROUBLE", 0.01)
    astray = Astray()
    engine = LocalEngine(astray, Idle(), workers=1, lease=60)  # type: ignore[arg-type]
    engine.start()
    assert astray.again.wait(30)
    assert engine.trouble() is None
    assert engine.stop(20)
    assert sum("Traceback" in record.getMessage() for record in caplog.records) == 1
    assert "@example.com" not in caplog.text
