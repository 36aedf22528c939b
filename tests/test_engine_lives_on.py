"""A campaign that nobody expects: the service lives on, and the others' mail goes out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import text

from app import create_app
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft
from mailer.campaigns.progress import progress
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
