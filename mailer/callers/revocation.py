"""Tokens ended by a person, who names them by a digest or by their owner: over HTTP, by a command, on a page."""

from __future__ import annotations

from sqlalchemy import select

from mailer.callers.tokens import Tokens
from mailer.directory.documents import SERVICE_PREFIX
from mailer.directory.users import find_id
from mailer.errors import NotFound
from mailer.storage.database import Database
from mailer.storage.models import AuthToken


def revoke(db: Database, *, digest: str | None = None, user: str | None = None) -> int:
    """End the tokens whose digest begins with `digest`, or all of `user`; return how many.

    `user` is an id or a username, or a service's id. Somebody who is in the directory no more may still have tokens.
    Raises `NotFound` where no token is meant.
    """
    if user is not None:
        ended = Tokens(db).revoke_all(_owner(db, user))
        if not ended:
            raise NotFound(f"{user} has no token.")
        return ended
    ended = Tokens(db).revoke(digest) if digest else 0
    if not ended:
        raise NotFound("No token has such a digest.")
    return ended


def _owner(db: Database, name: str) -> str:
    """The id that is meant: as it stands where it owns a token, else that of the user who has the username."""
    if name.startswith(SERVICE_PREFIX):
        return name
    with db.read() as connection:
        if connection.scalar(select(AuthToken.user_id).where(AuthToken.user_id == name).limit(1)):
            return name
        return find_id(connection, name) or name
