"""A client of the API with the headers of a user who may call it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask.testing import FlaskClient

from app import create_app
from mailer.callers.tokens import Tokens
from mailer.settings import Settings
from mailer.storage.database import Database

CALLER = "user00000"


@contextmanager
def calling(db: Database, *permissions: str, **settings: Any) -> Iterator[FlaskClient]:
    """The service over this database, and a client that calls as the first user with these permissions."""
    named = {"secret_key": ("k" * 40,), "rate_limit": "", "transport": "memory:", **settings}
    app = create_app(Settings(db.url, **named))
    client = app.test_client()
    token = Tokens(db).create(CALLER, permissions or ("send-mail",))
    client.environ_base.update(HTTP_X_USER_ID=CALLER, HTTP_X_AUTH_TOKEN=token)
    yield client
    app.extensions["mailer"].db.close()
