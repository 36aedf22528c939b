"""What the service has of metrics, wanted or not. Where they are not, nothing else of this room is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailer.settings import Settings
from mailer.storage.database import Database
from transports.base import Transport

if TYPE_CHECKING:
    from mailer.metrics.instruments import Instruments


def watched(settings: Settings, db: Database, transport: Transport) -> tuple[Instruments | None, Transport]:
    """Make what counts, if metrics are wanted, and put it around the transport."""
    if not settings.metrics:
        return None, transport
    from mailer.metrics import measured_transport  # noqa: PLC0415

    return measured_transport.watched(db, transport, settings.send_window)


def serve_metrics(settings: Settings, instruments: Instruments | None) -> None:
    """Answer `GET /metrics` from a thread of this process, which serves no web, at the place that is set for them."""
    if instruments is not None and settings.metrics not in ("", "true"):
        from mailer.metrics.processes import listen  # noqa: PLC0415

        listen(instruments.registry, settings.metrics)
