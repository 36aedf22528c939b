"""Tokens and signing keys, for whoever may end or forget them. Neither is shown itself."""

from __future__ import annotations

import re

from flask import Blueprint, Response, request
from flask_babel import lazy_gettext

from mailer.callers.revocation import revoke
from mailer.callers.tokens import MANAGE_CAMPAIGNS, MANAGE_USERS, Tokens
from mailer.campaigns.signing.needed import Role, forget_key, known_keys
from mailer.errors import InvalidState, NotFound
from mailer.ownership.leaving import SHOWN_DIGEST
from mailer.pages.from_below.translation import translated
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import SignIns, signed_in, to_page

PLACE = "system/credentials"
ROLES = {
    Role.SIGNS: lazy_gettext("signs"),
    Role.VERIFIES: lazy_gettext("verifies"),
    Role.MISSING: lazy_gettext("missing in the settings"),
}
_DIGEST = re.compile(r"[0-9a-f]{64}")


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the routes. Each permission has its own part of the page."""
    db, fingerprints = parts.db, parts.links.fingerprints

    def show(said: str = "", status: int = 200) -> Response:
        permissions = signed_in().caller.permissions
        values: dict[str, object] = {"said": said, "shown_digest": SHOWN_DIGEST, "roles": ROLES, "role": Role}
        values["tokens"] = Tokens(db).list() if MANAGE_USERS in permissions else None
        values["keys"] = known_keys(db, fingerprints) if MANAGE_CAMPAIGNS in permissions else None
        values["revoked"] = request.args.get("revoked", "") == "1"
        return sign_ins.page("system/credentials.html", values, status=status)

    @blueprint.get("/system/credentials")
    @sign_ins.requires(MANAGE_CAMPAIGNS, MANAGE_USERS)
    def show_credentials() -> Response:
        """The tokens and the keys."""
        return show()

    @blueprint.post("/system/credentials/revoke")
    @sign_ins.requires(MANAGE_USERS)
    def revoke_token() -> Response:
        """End the one token whose whole digest was sent."""
        digest = request.form.get("digest", "")
        try:
            revoke(db, digest=digest if _DIGEST.fullmatch(digest) else None)
        except NotFound as error:
            return show(translated(error.text), error.status)
        return to_page(f"{PLACE}?revoked=1")

    @blueprint.post("/system/credentials/forget")
    @sign_ins.requires(MANAGE_CAMPAIGNS)
    def forget_signing_key() -> Response:
        """Forget a key that was taken out of the settings on purpose."""
        try:
            forget_key(db, request.form.get("fingerprint", "")[:16], fingerprints)
        except (InvalidState, NotFound) as error:
            return show(translated(error.text), error.status)
        return to_page(PLACE)
