"""Fields that the users table also keeps as columns, where the database finds them without opening the document.

What a column holds is what the document holds: `documents.normalise` makes both from one source.
"""

from __future__ import annotations

from mailer.selector.tree import Kind

PROMOTED = {"_id": Kind.STRING, "username": Kind.STRING, "createdAt": Kind.INSTANT, "roles": Kind.STRING}
"""Field -> the kind of operand for which its column says the same as the document."""

LISTED = "roles"  # its column holds a line for each role, or NULL where only the document can tell
ORDERED = ("_id", "createdAt")  # the others sort by the database's collation, which is not MongoDB's order
