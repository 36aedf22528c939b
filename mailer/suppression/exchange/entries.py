"""One row of such a list: who must not be written to, why, and since when. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from mailer.files.exports import Cell
from mailer.times import to_iso


class Why(StrEnum):
    """Why somebody must not be written to."""

    UNSUBSCRIBED = "unsubscribed"  # they wish it
    SHARED = "unsubscribed-shared"  # a wish at an address that others have too: it counts where addresses are merged
    REFUSED = "refused"  # the address was refused in one campaign after the other
    BOUNCED = "bounced"  # messages to the address came back
    COMPLAINED = "complained"  # somebody there has marked a message as spam
    BLOCKED = "blocked"  # an operator has blocked the address


WISHES = (Why.UNSUBSCRIBED, Why.SHARED)


@dataclass(frozen=True, slots=True)
class Entry:
    """One reason. An unsubscribed person has a `user_id`, an `address` or both; every other reason has an address.

    `since` is in ms; None: not known. `words` are a refusal's, a bounce's or an operator's own. `rule` says by what a
    refusal is about the address, and `campaigns` how many in a row had it. `by` has blocked it. `provider` is the
    format of the service whose list this is; empty: of ours, or of nobody that is known.
    """

    COLUMNS: ClassVar[tuple[str, ...]] = ("_id", "address", "reason", "since", "why", "rule", "campaigns", "by")
    reason: Why
    address: str | None = None
    user_id: str | None = None
    since: int | None = None
    words: str = ""
    rule: str = ""
    campaigns: int = 0
    by: str | None = None
    provider: str = ""

    def cells(self) -> tuple[Cell, ...]:
        """In the order of `COLUMNS`; times are ISO 8601 in UTC."""
        since = None if self.since is None else to_iso(self.since)
        counted = self.campaigns or None
        return self.user_id, self.address, self.reason, since, self.words or None, self.rule or None, counted, self.by
