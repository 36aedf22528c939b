"""Signed links that unsubscribe whoever holds them, and the mark they set."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from hashlib import sha256

from itsdangerous import BadSignature, Signer
from itsdangerous.encoding import base64_decode, base64_encode
from itsdangerous.exc import BadData
from itsdangerous.signer import SigningAlgorithm
from sqlalchemy import ColumnElement, and_, delete, func, select, update
from typing_extensions import override

from mailer import wishes
from mailer.addresses import comparable
from mailer.database import Database
from mailer.models import User, Wish, WishOf

PATH = "/mailer/unsubscribe/"
_SITE_URL = re.compile(r"https?://[!-;=?-~]+")
_SALT = b"mailer.unsubscribe"


class Links:
    """Makes and reads unsubscribe links: HMAC-SHA-256, valid as long as the key is known."""

    def __init__(self, keys: Sequence[str], site_url: str) -> None:
        """Take secret keys: the first signs, all verify. Raises ValueError without a key or an http(s) address."""
        if not keys or not all(keys) or not _SITE_URL.fullmatch(site_url):
            raise ValueError("unsubscribe links need a key and an ASCII http(s) address")
        self._signers = [_signer(key) for key in keys]
        self._prefix = site_url.rstrip("/") + PATH

    def link(self, user_id: str) -> str:
        """Give the address of the page on which the user `user_id` unsubscribes."""
        payload = base64_encode(user_id)
        return f"{self._prefix}{self._signers[0].sign(payload).decode()}"

    def read(self, token: str) -> str | None:
        """Give the user id that a link's last part was made for; None for a token that is not ours."""
        for signer in self._signers:
            try:
                return base64_decode(signer.unsign(token)).decode()
            except BadSignature:
                continue
            except (BadData, UnicodeError):
                return None
        return None


def _signer(key: str) -> Signer:
    derived = Signer(key, salt=_SALT, key_derivation="hmac", digest_method=sha256).derive_key()
    return Signer(derived, key_derivation="none", algorithm=_OneCall())  # derived once, not once per link


class _OneCall(SigningAlgorithm):
    """HMAC-SHA-256 (RFC 2104) as itsdangerous makes it, without an object for each link."""

    @override
    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hmac.digest(key, value, "sha256")


def unsubscribe(db: Database, user_id: str) -> bool:
    """Write to this user no more. Keeps the time of the first call; returns whether there is such a user."""
    return _unsubscribe(db, user_id, User.id == user_id)


def unsubscribe_matching(db: Database, user_id: str, created_at_ms: int) -> bool:
    """Unsubscribe the user with this id and creation time (milliseconds); returns whether there is one."""
    return _unsubscribe(db, user_id, and_(User.id == user_id, User.created_at == created_at_ms))


def _unsubscribe(db: Database, user_id: str, which: ColumnElement[bool]) -> bool:
    with db.write() as connection:
        now = db.clock(connection)
        first_time = func.coalesce(User.unsubscribed_at, now)
        found = connection.execute(update(User).where(which).values(unsubscribed_at=first_time)).rowcount > 0
        if found:
            wishes.keep_inactive(connection, now, user_id=user_id)
        return found


def resubscribe(db: Database, user_id: str, *, merged: bool = False) -> bool:
    """Take an unsubscription back, and the wish kept for the address; returns whether there is such a user.

    With `merged` users who share an address count as one, so it is taken back for all of them.
    """
    with db.write() as connection:
        user = connection.execute(select(User.email).where(User.id == user_id)).one_or_none()
        if user is None:
            return False
        whose = User.id == user_id
        if merged and user.email is not None:
            whose |= func.lower(User.email) == comparable(user.email)
        connection.execute(update(User).where(whose).values(unsubscribed_at=None))
        wishes.forget(connection, user_id, user.email)
        return True


def resubscribe_address(db: Database, address: str) -> int | None:
    """Take back the wish kept for an address, and the marks that users have from it; None: no wish is kept.

    Returns how many users are written to again. Who has unsubscribed by themselves stays so.
    """
    theirs = comparable(address)
    kept = (Wish.kind == WishOf.ADDRESS) & (Wish.value == theirs)
    with db.write() as connection:
        made_at = connection.scalar(select(Wish.unsubscribed_at).where(kept))
        if made_at is None:
            return None
        connection.execute(delete(Wish).where(kept))
        marked = and_(func.lower(User.email) == theirs, User.unsubscribed_at == made_at)
        return connection.execute(update(User).where(marked).values(unsubscribed_at=None)).rowcount
