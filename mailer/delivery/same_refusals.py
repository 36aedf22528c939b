"""Notice when most recipients get the same refusal: then it is not about them, whatever its code says.

A campaign's last refusals that are not about addresses are kept in the database, for all threads and processes. They
are compared in a normalised form, without the numbers, names, ids and dates that differ from recipient to recipient.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select, update

from mailer.delivery.worklist import Claim, Result
from mailer.logs.masking import without_addresses
from mailer.storage.models import Campaign, CampaignState, DeliveryStatus, SameRefusals
from mailer.timeline.events import Kind, happened
from transports.base import About

LONGEST = 200  # characters of a normalised reply that are kept and compared

_CODE = re.compile(r"[245]\d\d|[245]\.\d{1,3}\.\d{1,3}")
_WORD = re.compile(r"\w+://\S+|[^\s,:;()\[\]{}<>\"'=|]+")
_NAMED = re.compile(r"\S*@\S*|\w+://\S*|\S*\w\.[a-z]\S*", re.IGNORECASE)  # addresses, URLs, hosts
_ID = re.compile(r".*\d.*|[A-Za-z0-9+/_-]{33,}")
# after one of these words comes an id, whatever it looks like
_BEFORE_ID = {"id", "ids", "queue-id", "message-id", "ref", "reference", "ticket", "session", "incident", "transaction"}
_DATE = re.compile(r"(mon|tue|wed|thu|fri|sat|sun|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|gmt|utc)[.:]?")
_GAPS = re.compile(r"(# ?)+")


def normalised(reply: str, address: str = "") -> str:
    """Return `reply` in a form that is equal for all who get it: what differs between recipients becomes `#`.

    `address` is the recipient's own, whose parts are replaced too.
    """
    local, _, domain = address.lower().partition("@")
    theirs = {part for part in (local, domain, address.lower()) if part}
    words = [_told(word, theirs) for word in _WORD.findall(reply)]
    words = [
        "#" if before in _BEFORE_ID and not _CODE.fullmatch(word) else word
        for before, word in zip(["", *words], words, strict=False)
    ]
    return _GAPS.sub("# ", " ".join(words)).strip()[:LONGEST]


def _told(word: str, theirs: set[str]) -> str:
    """The word in lower case, or `#` if it may differ between recipients; `theirs` are parts of the address."""
    bare = word.strip(".!?-")
    if _CODE.fullmatch(bare):
        return bare
    if not bare or bare.lower() in theirs or _NAMED.search(bare) or _DATE.fullmatch(bare.lower()):
        return "#"
    return "#" if _ID.fullmatch(bare) else bare.lower()


def is_pattern(result: Result) -> bool:
    """Whether the outcome is a refusal of the message, not of the address, and so is to be compared."""
    return result.status is DeliveryStatus.FAILED and result.about is About.MESSAGE


def judge(connection: Connection, claim: Claim, results: Sequence[Result], size: int, now: int) -> None:
    """Pause the campaign if everybody gets the same reply, before the next recipients are chosen.

    `size` and `now` are as in `count`. After failures it locks the campaign's row, which is always locked before
    those of its batches.
    """
    if any(result.status is DeliveryStatus.FAILED for result in results):
        row = select(Campaign.id).where(Campaign.id == claim.campaign_id)
        connection.execute(row.with_for_update(key_share=True))
        count(connection, claim, results, size, now)


def count(connection: Connection, claim: Claim, results: Sequence[Result], size: int, now: int) -> None:
    """Record the refusals that are not about addresses; pause the campaign when most of the last `size` are the same.

    With `size` 0 nothing is recorded. A reply for which the campaign was paused before does not pause it again. The
    caller must hold a lock on the campaign's row. `now` is in ms since 1970.
    """
    refused = [result for result in results if is_pattern(result)]
    if claim.dry_run or not size or not refused:
        return
    table, mine = SameRefusals, SameRefusals.campaign_id == claim.campaign_id
    row = connection.execute(select(table.replies, table.known).where(mine)).one_or_none()
    replies, known = (list(row.replies), list(row.known)) if row else ([], [])
    said = {normalised(result.reply, result.item.recipient.address): result.reply for result in refused}
    replies += [normalised(result.reply, result.item.recipient.address) for result in refused]
    pattern = most_common_reply(replies[-size:], size, known)
    if pattern is not None:
        words = without_addresses(said.get(pattern) or pattern or "(no words)")
        reason = f"{replies[-size:].count(pattern)} of the last {size} refusals say the same: {words}"
        _pause(connection, claim.campaign_id, reason, now)
        replies, known = [], [*known, pattern]
    values = {"replies": replies[-size:], "known": known}
    change = update(table).where(mine) if row else insert(table)
    connection.execute(change.values(**({} if row else {"campaign_id": claim.campaign_id}), **values))


def most_common_reply(replies: Sequence[str], size: int, known: Sequence[str]) -> str | None:
    """Return the reply that more than half of `size` replies are.

    None if there is none, if it is among the `known`, or if there are fewer than `size` replies.
    """
    if len(replies) < size:
        return None
    reply, times = Counter(replies).most_common(1)[0]
    return reply if 2 * times > size and reply not in known else None


def _pause(connection: Connection, campaign_id: str, reason: str, now: int) -> None:
    going = Campaign.state.in_([CampaignState.RUNNING, CampaignState.RESTING])
    mine = update(Campaign).where(Campaign.id == campaign_id, going)
    if connection.execute(mine.values(state=CampaignState.PAUSED, reason=reason)).rowcount:
        happened(connection, now, Kind.PAUSED, campaign_id, reason=reason, limit="MAILER_SAME_REFUSALS")


def forget(connection: Connection, campaign_id: str) -> None:
    """Delete the recorded refusals of a campaign."""
    connection.execute(delete(SameRefusals).where(SameRefusals.campaign_id == campaign_id))
