"""The work that everybody is given: one newsletter of about 5 KB on the wire, personalised, and who it is for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

SENDER_NAME = "Harbour Town Library"
SENDER = "news@example.com"
SITE_NAME = "Harbour Town Library"
SITE_URL = "https://library.example.com"
SUBJECT = "What is on this month, [fname]"
FIRST_CREATED = 1_420_070_400_000  # 2015-01-01, in ms
CREATED_EVERY = 60_000
ROLES = ("user", "admin", "moderator", "guest")  # one user in four has the second one

PARAGRAPHS = (
    "The reading room opens at eight from Monday on, an hour earlier than before. The upper gallery stays quiet, the "
    "tables by the windows are for groups, and the lamp at the door shows how full the house is.",
    "On the second Thursday the map collection shows the coast as it was drawn over three centuries. Bring a "
    "magnifying glass or borrow one at the desk; the curator explains the soundings at half past six.",
    "Children between six and ten meet the illustrator of the heron books. There is paper for everyone, and what is "
    "drawn on the day hangs in the stairwell until the end of the month.",
    "Forty new titles stand on the shelf beside the entrance: travel, two cook books, a history of lighthouses, and "
    "the crime novels that many of you have asked for. Each may be kept for three weeks.",
    "If you have a card, you can now renew your loans by answering the reminder. If you have none, ask at the desk; "
    "it takes five minutes and costs nothing for those who live or work in the town.",
    "We look for volunteers who read aloud in the hospital on Saturday mornings. An evening of practice is part of "
    "it, and so is good company. Write to us if this is something for you.",
    "The heating of the west wing is being renewed, so the periodicals have moved to the first floor for six weeks. "
    "Newspapers of the day lie where they always lie, and the coffee machine has come along too.",
    "Our small choir of readers sings again on the last Friday. No one needs to know the notes; the songs are those "
    "of the fishermen, the rounds are short, and the doors stay open for whoever only wants to listen.",
    "The bindery has repaired the atlas from the old harbour office. It can be seen under glass in the hall, open at "
    "the page with the shoals that gave our street its name.",
)
TEXT = "\n\n".join(["Dear [name],", *PARAGRAPHS, "This was sent to [email]. To stop it: [unsubscribe]", "[Site_Name]"])
HTML = "\n".join(
    [
        "<p>Dear [name],</p>",
        *(f"<p>{paragraph}</p>" for paragraph in PARAGRAPHS),
        '<p>This was sent to [email]. <a href="[unsubscribe]">To stop it</a></p><p>[Site_Name]</p>',
    ]
)
FIRST_NAMES = ("Ann", "Bruno", "Chiara", "Dmitri", "Elif", "Femke", "Goran", "Hana")
LAST_NAMES = ("Abbott", "Brandt", "Costa", "Dahl", "Evans", "Fischer", "Garcia")


class Person(NamedTuple):
    """A recipient."""

    id: str
    name: str
    address: str


def people(count: int) -> Iterator[Person]:
    """The first `count` recipients, always the same."""
    for n in range(count):
        name = f"{FIRST_NAMES[n % len(FIRST_NAMES)]} {LAST_NAMES[n % len(LAST_NAMES)]}"
        yield Person(f"user{n:07d}", name, f"user{n:07d}@example.com")


def link(person: Person) -> str:
    """A link as long as a signed one, for those who have no signing of their own."""
    return f"{SITE_URL}/mailer/unsubscribe/{person.id}.{'s' * 43}"


def fillings(person: Person) -> dict[str, str]:
    """Placeholder to value."""
    first, _, last = person.name.partition(" ")
    values = {"[name]": person.name, "[fname]": first, "[lname]": last, "[email]": person.address}
    return values | {"[unsubscribe]": link(person), "[Site_Name]": SITE_NAME, "[Site_URL]": SITE_URL}


def filled(text: str, values: dict[str, str]) -> str:
    """`text` for one person, as a script would do it."""
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text


def payload(**changes: Any) -> dict[str, Any]:
    """The POST that sends it."""
    return {"from": f"{SENDER_NAME} <{SENDER}>", "subject": SUBJECT, "body": HTML, **changes}


def document(number: int, person: Person) -> dict[str, Any]:
    """The person as a workspace's user document, with EJSON dates."""
    return {
        "_id": person.id,
        "username": person.id,
        "name": person.name,
        "emails": [{"address": person.address, "verified": True}],
        "type": "user",
        "active": True,
        "roles": ["user", ROLES[number % len(ROLES)]] if number % len(ROLES) else ["user"],
        "createdAt": {"$date": FIRST_CREATED + number * CREATED_EVERY},
        "customFields": {"district": f"district {number % 50}"},
    }
