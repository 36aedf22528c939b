"""What becomes of reports. To be replaced by the recorder, which compares them with what was sent."""

from __future__ import annotations

from collections.abc import Sequence

from mailer.bounces.report import Recorded, Report
from mailer.settings import Settings
from mailer.storage.database import Database


class Recorder:
    """A recorder that knows no message, so that nothing changes."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._settings = settings

    def record(self, reports: Sequence[Report]) -> Recorded:
        """Record nothing."""
        return Recorded(unknown=len(reports))
