"""Write into the journal who was sent to, before the commit that records it.

What a transport took is true whether the commit succeeds or not. So the line is written first, outside the transaction
where that can be: nobody waits for SQLite's lock while a disk is waited for.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mailer.delivery.worklist import Claim, Result
from mailer.storage.database import Database
from mailer.storage.models import DeliveryStatus

log = logging.getLogger(__name__)


def journal_sent(db: Database, claim: Claim, results: Sequence[Result]) -> None:
    """Write who of `results` was sent to, where there is a journal.

    A journal that cannot be written to stops no mail: after a restore the relay's log still says what was sent.
    """
    if db.journal is None or not results:
        return
    ids = [one.item.recipient.user_id for one in results if one.status is DeliveryStatus.SENT]
    if not ids:
        return
    try:
        db.journal.sent(claim.campaign_id, ids)
    except OSError as error:
        log.error("the journal cannot be written to: %s", error)
