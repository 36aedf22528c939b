"""The headings that people give to columns, and which column of users each of them means. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from mailer.files.cells import trimmed

CUSTOM = "customFields."
FIRST, LAST = "first name", "last name"  # joined into `name`

_SYNONYMS = {
    "_id": "_id id userid uid rocketchatid",
    "username": "username user login loginname userlogin",
    "name": "name fullname displayname realname",
    FIRST: "firstname fname givenname forename vorname prenom",
    LAST: "lastname lname surname familyname nachname nom",
    "email": "email emails emailaddress emailaddresses emailadresse mail mailaddress mailadresse address addresses"
    " adresse adressemail adresseemail courriel correo correoelectronico emailid primaryemail primaryemailaddress"
    " useremail email1 email1value emails0address subscriberemail recipient recipientemail",
    "active": "active isactive enabled aktiv",
    "type": "type",
    "roles": "roles role",
    "createdAt": "createdat created creationdate createddate",
    "lastLogin": "lastlogin",
    "status": "status",
    "language": "language lang locale",
    "unsubscribedAt": "unsubscribedat unsubscribedon unsubtime unsubscribetime unsubscribedate unsubscribeddate"
    " optouttime optoutdate optedoutat",
}
_COLUMNS = {name: column for column, names in _SYNONYMS.items() for name in names.split()}
_custom = re.compile(r"custom[ _-]?fields\.(.+)", re.IGNORECASE | re.DOTALL).fullmatch

POSTAL = {"address", "addresses", "adresse"}  # beside a column of mail addresses


def columns_of(headings: Sequence[str]) -> tuple[str | None, ...]:
    """Which column each heading means; None: unknown. `address` beside `email` is where somebody lives."""
    columns = [column_of(heading) for heading in headings]
    if columns.count("email") > 1:
        columns = [None if folded(h) in POSTAL else c for h, c in zip(headings, columns, strict=True)]
    return tuple(columns)


def column_of(heading: str) -> str | None:
    """Which column `heading` means, whatever its case, blanks and punctuation; None: unknown.

    `customFields.…` keeps the letters after the dot. A text with an `@` is an address and no heading.
    """
    custom = _custom(trimmed(heading))
    if custom:
        return f"{CUSTOM}{custom[1]}"
    return None if "@" in heading else _COLUMNS.get(folded(heading))


def folded(heading: str) -> str:
    """A heading's letters and digits in lower case, without accents."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", heading).casefold()))
