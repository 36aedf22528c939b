"""The rate of a caller: counted with the campaign, in one commit, and not at all where the request is refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from app import create_app
from mailer.callers import rate_limits
from mailer.callers.rate_limits import RateLimiter
from mailer.callers.tokens import Tokens
from mailer.errors import TooManyRequests
from mailer.selector import database_at
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import Campaign, RateLimit

BODY = {"from": "news@example.com", "subject": "Hello", "body": "Hi [name] [unsubscribe]"}
Post = Callable[..., TestResponse]


@pytest.fixture
def client(db: Database) -> FlaskClient:
    """A service with a rate of three a minute and five an hour."""
    rates, known = "3/minute;5/hour", {"secret_key": ("k" * 40,), "repeat_window": 0, "transport": "memory:"}
    made = create_app(Settings(database_url=db.url, rate_limit=rates, **known))  # type: ignore[arg-type]
    return made.test_client()


@pytest.fixture
def post(db: Database, client: FlaskClient) -> Iterator[Post]:
    headers = {"X-User-Id": "service:ci", "X-Auth-Token": Tokens(db).create_for_service("ci", ["send-mail"])}

    def send(key: str = "", **changes: object) -> TestResponse:
        more = {"Idempotency-Key": key} if key else {}
        return client.post("/api/v1/mailer", json={**BODY, **changes}, headers={**headers, **more})

    yield send
    client.application.extensions["mailer"].db.close()


def hits(db: Database) -> dict[str, int]:
    """What was counted against whom, by the length of the window."""
    with db.read() as connection:
        rows = connection.execute(select(RateLimit.key, RateLimit.hits).order_by(RateLimit.key)).all()
    return {key.rpartition("/")[2]: count for key, count in rows}


def campaigns(db: Database) -> int:
    with db.read() as connection:
        return connection.execute(select(func.count()).select_from(Campaign)).scalar_one()


def test_campaign_and_count_are_one_commit(
    db: Database, client: FlaskClient, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert post().status_code == 200
    dialect, committed = client.application.extensions["mailer"].db.engine.dialect, []
    commit = dialect.do_commit
    monkeypatch.setattr(dialect, "do_commit", lambda connection: (committed.append(1), commit(connection)))
    assert post().status_code == 200
    assert len(committed) == 3  # who calls, and who else writes to the same people, was read in transactions, too
    assert (hits(db), campaigns(db)) == ({"minute": 2, "hour": 2}, 2)


def test_refused_request_has_no_effect(db: Database, post: Post) -> None:
    assert [post().status_code for _ in range(5)] == [200] * 3 + [429] * 2
    assert (hits(db), campaigns(db)) == ({"minute": 3, "hour": 3}, 3)


def test_later_rate_that_is_used_up_leaves_the_earlier_one_as_it_was(db: Database) -> None:
    limiter = RateLimiter(db, "5/hour;2/minute")
    assert limiter.hit("ann")
    assert limiter.hit("ann")
    with pytest.raises(TooManyRequests):
        limiter.hit("ann")
    assert hits(db) == {"hour": 2, "minute": 2}


def test_every_other_request_counts_once(db: Database, post: Post) -> None:
    assert post(subject=None).status_code == 400
    assert hits(db) == {"minute": 1, "hour": 1}
    assert post(key="k").status_code == 200
    assert post(key="k", subject="Another").status_code == 422  # found out in the transaction, which is rolled back
    assert (hits(db), campaigns(db)) == ({"minute": 3, "hour": 3}, 1)
    assert post(subject=None).status_code == 429  # as long as the rate is used up, before anything is read


def test_replayed_request_counts(db: Database, post: Post) -> None:
    answers = [post(key="k") for _ in range(3)]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0"]
    assert answers[2].headers["Idempotent-Replayed"] == "true"
    assert (hits(db), campaigns(db)) == ({"minute": 3, "hour": 3}, 1)


def test_process_that_has_refused_a_caller_asks_no_database_again(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(database_at(db.url)) as own:
        limiter, asked = RateLimiter(own, "1/minute"), []
        limiter.hit("ann")
        with pytest.raises(TooManyRequests):
            limiter.hit("ann")
        monkeypatch.setattr(own, "clock", lambda connection: asked.append(1) or db.clock(connection))
        with pytest.raises(TooManyRequests) as refusal:
            limiter.hit("ann")
        assert not asked
        assert 1 <= int(refusal.value.headers["Retry-After"]) <= 60
        assert refusal.value.headers["X-RateLimit-Remaining"] == "0"
        assert limiter.hit("bob")
        later = time.monotonic() + 61
        monkeypatch.setattr(time, "monotonic", lambda: later)
        with pytest.raises(TooManyRequests):
            limiter.hit("ann")  # the window's end is the database's to tell
        assert len(asked) == 2


def test_not_everybody_who_is_refused_is_kept_in_memory(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "MOST_NOTED", 3)
    limiter = RateLimiter(db, "1/minute")
    for who in "abcde":
        limiter.hit(who)
        with pytest.raises(TooManyRequests):
            limiter.hit(who)
    assert len(limiter._used_up) <= 3
