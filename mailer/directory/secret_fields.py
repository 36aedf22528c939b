"""Fields of user documents that are secrets, such as passwords and login tokens: they are never stored. Pure."""

from __future__ import annotations

import re

SECRET_ROOTS = frozenset({"services", "e2e"})
"""Whole objects at the top of a Rocket.Chat document: its login services, and its keys for encryption."""

SECRETS = frozenset(
    {
        "password",
        "passwd",
        "passwordhistory",
        "bcrypt",
        "secret",
        "tempsecret",
        "clientsecret",
        "privatekey",
        "token",
        "tokens",
        "authtoken",
        "logintoken",
        "logintokens",
        "hashedtoken",
        "accesstoken",
        "refreshtoken",
        "idtoken",
        "invitetoken",
        "verificationtokens",
        "apikey",
        "apitoken",
        "sessiontoken",
        "pushtoken",
        "totp",
        "twofactor",
        "twofactorauth",
        "twofactorsecret",
        "email2fa",
        "emailcode",
        "backupcodes",
        "hashedbackup",
        "recoverycodes",
    }
)
"""Fields at any depth, in lower case and without `-`, `_` and blanks."""


def is_secret(field: str) -> bool:
    """Whether a field of this name is a secret, at any depth of a document and however it is spelled."""
    return re.sub(r"[-_ ]", "", field).casefold() in SECRETS
