"""The list of people, and the search in it. It shows addresses, so it is for those who manage users."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote

from flask import Blueprint, Response, request

from mailer.audience.search import LONGEST, FoundPeople, search
from mailer.callers.tokens import MANAGE_USERS
from mailer.campaigns.people.explain import NamedByAddress, by_address
from mailer.messages.addresses import envelope_address
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import SignIns

PAGE = 50
FOLDER = "people/"


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the route."""
    blueprint.add_app_template_filter(as_part, "part")

    @blueprint.get(f"/{FOLDER}")
    @sign_ins.requires(MANAGE_USERS)
    def list_people() -> Response:
        """Who has `q` in their id, user name, name or address, or everybody; `after` continues the list."""
        wanted, after = request.args.get("q", "").strip()[:LONGEST], request.args.get("after")
        found = search(parts.db, wanted, after=after, count=PAGE)
        values = {"wanted": wanted, "longest": LONGEST, "found": found, "first": after is None, "exact": _exact(found)}
        return sign_ins.page("people/people.html", {**values, "erased": _erased(), "address": _address(parts, wanted)})


def _address(parts: PageParts, wanted: str) -> NamedByAddress | None:
    """What is known of an address that was looked for, whoever has or had it; None: it is no address."""
    return by_address(parts.db, wanted) if "@" in wanted and envelope_address(wanted) else None


def as_part(user_id: str) -> str:
    """An id as one part of an address: a slash in it divides nothing."""
    return quote(user_id, safe="")


def place_of(user_id: str) -> str:
    """Where the person with this id is, below the pages' own address."""
    return FOLDER + as_part(user_id)


def _exact(found: FoundPeople) -> bool:
    """Whether these are those who have exactly what was typed."""
    return found.following == ""


def _erased() -> int | None:
    """In how many campaigns somebody has outcomes who was erased just now."""
    with suppress(ValueError):
        return int(request.args.get("erased", "")[:9])
    return None
