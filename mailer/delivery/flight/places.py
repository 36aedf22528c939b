"""What became of each recipient of a checkpoint, as one byte in the flight record, and what follows from it later.

A byte says that the transport has drawn the message, and later what came of it. The words of the answer are not kept:
they may have addresses in them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product

from mailer.delivery.blame import consequence, result_of
from mailer.delivery.retry import uncertain_result
from mailer.delivery.worklist import Result, WorkItem
from transports.base import About, Status

NOT_DRAWN, DRAWN, SENT = range(3)

_OTHERS = product((Status.DEFERRED, Status.REFUSED, Status.UNCERTAIN), About)
_MEANING = {SENT: (Status.SENT, About.MESSAGE), **dict(enumerate(_OTHERS, SENT + 1))}
_BYTE = {meaning: byte for byte, meaning in _MEANING.items()}
_SOUND = bytes((NOT_DRAWN, DRAWN, *_MEANING))

FROM_RECORD = "The worker stopped after this outcome; its flight record has kept it without the answer's words."


def ended(status: Status, about: About) -> int:
    """The byte for an outcome."""
    return SENT if status is Status.SENT else _BYTE[status, about]


def are_sound(places: bytes) -> bool:
    """Whether all bytes are ones that are written."""
    return not places.translate(None, _SOUND)


def results_from(places: bytes | None, items: Sequence[WorkItem], now: int, lost: str, *, policy: str) -> list[Result]:
    """What came of `items`, whom a worker attempted that stopped. Whose message was not drawn, stays as they were.

    Without `places` all are uncertain. `lost` is what is said of those who are; `now` is in ms since 1970.
    """
    if places is None or len(places) != len(items):
        return [uncertain_result(item, now, lost, policy=policy) for item in items]
    chance = random.random()  # noqa: S311 - jitter of retries, as a batch has it
    found = (_result(*one, now, lost, policy, chance) for one in zip(items, places, strict=True))
    return [result for result in found if result is not None]


def _result(item: WorkItem, place: int, now: int, lost: str, policy: str, chance: float) -> Result | None:
    if place == NOT_DRAWN:
        return None
    if place == DRAWN:
        return uncertain_result(item, now, lost, policy=policy)
    status, about = _MEANING[place]
    past = (item.attempts, item.uncertain_attempts, item.first_at or now)
    then = consequence(status, about, *past, now, chance=chance, policy=policy)
    result = result_of(item._replace(refused_before=True), then, about, FROM_RECORD)
    if result is None or item.recipient.address:
        return result
    return result._replace(counts=False)  # the user has left the directory, and the address with them
