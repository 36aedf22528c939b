"""Tokens that a backup brought back: none works until an operator says so.

A backup does not know which tokens were ended after it was made. So their digests are kept in a form that no token has,
and `release` gives them back. Whoever is deactivated meanwhile, or whose token is revoked, loses it as ever.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, delete, func, select, update

from mailer.audit.log import Act, record
from mailer.storage.database import Database
from mailer.storage.models import AuthToken, PageSession

HELD = "held:"  # before a digest; no SHA-256 begins so
IS_HELD = AuthToken.digest.startswith(HELD)
AT_ONCE = 500  # digests in one statement


def hold(connection: Connection) -> None:
    """Have no token work that is there now. Those that were made for a session on the pages end with it."""
    of_sessions = select(PageSession.own_token).where(PageSession.own_token.is_not(None))
    connection.execute(delete(AuthToken).where(AuthToken.digest.in_(of_sessions)))
    connection.execute(update(AuthToken).where(~IS_HELD).values(digest=HELD + AuthToken.digest))


def held(db: Database) -> int:
    """How many tokens wait for an operator."""
    with db.read() as connection:
        return connection.scalar(select(func.count()).select_from(AuthToken).where(IS_HELD)) or 0


def release(db: Database, user_id: str | None = None) -> int:
    """Have the tokens work again, those of a user or service, or all; return how many they are."""
    theirs = IS_HELD if user_id is None else IS_HELD & (AuthToken.user_id == user_id)
    with db.write() as connection:
        working = update(AuthToken).where(theirs).values(digest=func.substr(AuthToken.digest, len(HELD) + 1))
        count = connection.execute(working).rowcount
        record(connection, db.clock(connection), Act.RELEASE_TOKENS, user_id, released=count)
    return count


def end(connection: Connection, digests: Collection[str]) -> int:
    """Delete those tokens that are held and have one of these digests; return how many."""
    wanted = [HELD + one for one in sorted(digests)]
    parts = (wanted[begin : begin + AT_ONCE] for begin in range(0, len(wanted), AT_ONCE))
    return sum(connection.execute(delete(AuthToken).where(AuthToken.digest.in_(some))).rowcount for some in parts)
