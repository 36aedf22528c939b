"""What may go out at a moment: by the send window, and by the rates of single domains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from mailer.pacing.domain_slots import DomainSlots
from mailer.settings.send_window import SendWindow
from mailer.storage.models import Priority


@dataclass(frozen=True, slots=True)
class Admitted:
    """What may go out now. `urgent_only`: nothing but urgent campaigns and dry runs, as the send window is closed.

    `domains` are those of batches that may be claimed, last the empty one of all other addresses. `waiting` are those
    that wait for a slot, which the first of them gets in `wait` ms.
    """

    urgent_only: bool = False
    domains: Sequence[str] = ("",)
    waiting: Sequence[str] = ()
    wait: float = 0.0


class Admission:
    """Decides what may go out. Without a `window` mail goes out at any time. Times are ms since 1970."""

    def __init__(self, domains: DomainSlots | None = None, window: SendWindow | None = None) -> None:
        self.domains = domains or DomainSlots({})
        self._window = window

    def urgent_only(self, now: int) -> bool:
        """Whether nothing but urgent campaigns and dry runs may go out."""
        return self._window is not None and not self._window.is_open(now)

    def lets(self, priority: Priority, now: int) -> bool:
        """Whether a campaign with this priority may go out; every dry run is urgent."""
        return priority is Priority.URGENT or not self.urgent_only(now)

    def now(self, connection: Connection, now: int) -> Admitted:
        """What may go out at `now`."""
        waits = self.domains.waits(connection, now)
        ready = [domain for domain, wait in waits.items() if not wait]
        waiting = {domain: wait for domain, wait in waits.items() if wait}
        return Admitted(self.urgent_only(now), (*ready, ""), tuple(waiting), min(waiting.values(), default=0.0))
