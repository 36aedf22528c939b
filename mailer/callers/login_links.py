"""Links with which an operator lets a user sign in to the pages once, such as for the first visit.

A link has a secret, of which the database has a digest. It is good for a short time. To look at it does not use it up,
since programs that check mail and chats follow every link: only the button on its page does.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection

from sqlalchemy import Connection, delete, insert, select

from mailer.audit.log import Act, record
from mailer.errors import NotFound, NotLoggedIn
from mailer.storage.database import Database
from mailer.storage.models import LoginLink, User


def make(db: Database, user_id: str, permissions: Collection[str], expires_in: int) -> str:
    """Make a link and return its secret, which can be shown only now. It is good for `expires_in` ms.

    Raises `NotFound` if there is no active user with this id.
    """
    link, permitted = secrets.token_urlsafe(32), sorted(set(permissions))
    with db.write() as connection:
        if not connection.scalar(select(User.active).where(User.id == user_id)):
            raise NotFound(f"There is no active user with the id {user_id}.")
        now = db.clock(connection)
        connection.execute(delete(LoginLink).where(LoginLink.expires_at <= now))
        row = {"digest": _digest(link), "user_id": user_id, "permissions": permitted, "created_at": now}
        connection.execute(insert(LoginLink).values(**row, expires_at=now + expires_in))
        record(connection, now, Act.CREATE_LOGIN_LINK, user_id, permissions=permitted, expires_at=now + expires_in)
    return link


def whose(db: Database, link: str) -> str:
    """The id of the user whom this link lets in. Raises `NotLoggedIn` where it is not valid."""
    with db.read() as connection:
        good = (LoginLink.digest == _digest(link), LoginLink.expires_at > db.clock(connection), User.active)
        asked = select(LoginLink.user_id).join(User, User.id == LoginLink.user_id).where(*good)
        user_id: str | None = connection.scalar(asked)
    if user_id is None:
        raise NotLoggedIn
    return user_id


def take(connection: Connection, now: int, link: str) -> tuple[str, list[str]]:
    """Use the link up at `now` (ms since 1970): whom it lets in, and what they may do then.

    Raises `NotLoggedIn` where it is not valid. Of two who use it at once, one finds it.
    """
    gone = delete(LoginLink).where(LoginLink.digest == _digest(link), LoginLink.expires_at > now)
    row = connection.execute(gone.returning(LoginLink.user_id, LoginLink.permissions)).one_or_none()
    if row is None or not connection.scalar(select(User.active).where(User.id == row.user_id)):
        raise NotLoggedIn
    return row.user_id, row.permissions


def _digest(link: str) -> str:
    return hashlib.sha256(link.encode("utf-8", "surrogatepass")).hexdigest()
