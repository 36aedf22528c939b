"""Tokens: only their digest is kept, and they end."""

import pytest
from sqlalchemy import select

from mailer.callers.tokens import Tokens
from mailer.errors import NotAuthorized, NotFound, NotLoggedIn
from mailer.storage.database import Database
from mailer.storage.models import AuthToken


def test_token_lets_its_user_in_with_its_permissions(db: Database, add_users) -> None:
    add_users(db, 2)
    token = Tokens(db).create("user00000", ["send-mail"])
    caller = Tokens(db).authenticate("user00000", token)
    caller.require("send-mail")
    with pytest.raises(NotAuthorized):
        caller.require("manage-users")


def test_token_is_not_stored(db: Database, add_users) -> None:
    add_users(db, 1)
    token = Tokens(db).create("user00000", [])
    with db.read() as connection:
        row = str(connection.execute(select(AuthToken)).one())
    assert token not in row


def test_token_ends(db: Database, add_users) -> None:
    add_users(db, 1)
    now = 1000
    db.clock = lambda _connection: now
    token = Tokens(db).create("user00000", [], expires_in=10)
    now = 1009
    Tokens(db).authenticate("user00000", token)
    now = 1010
    with pytest.raises(NotLoggedIn):
        Tokens(db).authenticate("user00000", token)


def test_revoked_token_is_unknown(db: Database, add_users) -> None:
    add_users(db, 1)
    tokens = Tokens(db)
    kept, gone = tokens.create("user00000", []), tokens.create("user00000", [])
    listed = {info.digest for info in tokens.list()}
    import hashlib

    digest = hashlib.sha256(gone.encode()).hexdigest()
    assert digest in listed
    assert tokens.revoke(digest[:12]) == 1
    assert tokens.revoke("%") == 0
    tokens.authenticate("user00000", kept)
    with pytest.raises(NotLoggedIn):
        tokens.authenticate("user00000", gone)


@pytest.mark.parametrize("user_id", ["nobody", "gone"])
def test_token_needs_an_active_user(db: Database, add_users, user_id: str) -> None:
    add_users(db, 1, id="gone", active=False)
    with pytest.raises(NotFound):
        Tokens(db).create(user_id, [])
