"""What stops running campaigns: a transport that fails, and what somebody has planned.

An operator's hold, the closed send window and a day's quota that is used up are planned: they end by themselves or by
the person who began them, and nobody need be called for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from mailer.campaigns.hold import Hold, current_hold
from mailer.delivery import circuit_breaker
from mailer.delivery.circuit_breaker import Tripped
from mailer.settings.send_window import SendWindow
from mailer.storage.models import CampaignState, Priority

HELD = "held"
BLOCKED = "blocked"


class Planned(StrEnum):
    """What somebody has planned that stops sending."""

    HOLD = "hold"
    SEND_WINDOW = "send_window"
    QUOTA = "quota"  # or the warm-up's share of the day


@dataclass(frozen=True, slots=True)
class Stops:
    """A hold on all sending; the circuit breaker, if it is not closed; what all but urgent campaigns wait for."""

    hold: Hold | None = None
    breaker: Tripped | None = None
    window: str | None = None

    def planned(self) -> Mapping[Planned, bool]:
        """Which of what can be planned stops sending now."""
        quota = self.breaker is not None and self.breaker.is_planned
        held, closed = self.hold is not None, self.window is not None
        return {Planned.HOLD: held, Planned.SEND_WINDOW: closed, Planned.QUOTA: quota}

    def shown(self, state: str, reason: str | None, priority: str | None) -> tuple[str, str | None]:
        """The state and the reason that a campaign is shown with, which are not on record."""
        if state != CampaignState.RUNNING:
            return state, reason
        if self.hold is not None:
            return HELD, f"all sending is {self.hold}, by {self.hold.by}"
        if self.breaker is not None:
            return BLOCKED, self.breaker.reason
        return state, reason or (None if priority == Priority.URGENT else self.window)


def stops(connection: Connection, now: int, window: SendWindow | None = None) -> Stops:
    """What stops sending at `now` (ms since 1970). `window` are the hours in which mail goes out; None: always."""
    waits = window.waits(now) if window else None
    return Stops(current_hold(connection), circuit_breaker.tripped(connection), waits)
