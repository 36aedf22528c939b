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
from sqlalchemy import ColumnElement, and_, func, update
from typing_extensions import override

from mailer.database import Database
from mailer.models import User

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
    return _unsubscribe(db, User.id == user_id)


def unsubscribe_matching(db: Database, user_id: str, created_at_ms: int) -> bool:
    """Unsubscribe the user with this id and creation time (milliseconds); returns whether there is one."""
    return _unsubscribe(db, and_(User.id == user_id, User.created_at == created_at_ms))


def resubscribe(db: Database, user_id: str) -> bool:
    """Take an unsubscription back; returns whether there is such a user."""
    with db.write() as connection:
        return connection.execute(update(User).where(User.id == user_id).values(unsubscribed_at=None)).rowcount > 0


def _unsubscribe(db: Database, which: ColumnElement[bool]) -> bool:
    with db.write() as connection:
        first_time = func.coalesce(User.unsubscribed_at, db.clock(connection))
        return connection.execute(update(User).where(which).values(unsubscribed_at=first_time)).rowcount > 0
