"""Delete messages of persons and of campaigns, in the transaction in which the service forgets them."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, delete, or_

from mailer.mailbox.sorting import sort_in_within
from mailer.messages.addresses import comparable
from mailer.messages.template import delivery_id
from mailer.storage.models import MailboxArrival
from mailer.storage.models import MailboxMessage as Kept


def forget(connection: Connection, addresses: Iterable[str], user_ids: Iterable[str] = ()) -> int:
    """Delete the messages to these addresses and users, and return how many they were.

    An address counts as it stands on the envelope and, where the message was redirected, as whom it was for. A user's
    messages are found under whatever address they had. Of messages to others nothing is deleted.
    """
    known = [comparable(address) for address in addresses]
    persons = [delivery_id("", user_id).lstrip(".") for user_id in user_ids]
    sort_in_within(connection)
    return connection.execute(delete(Kept).where(or_(Kept.address.in_(known), Kept.person.in_(persons)))).rowcount


def forget_campaign(connection: Connection, campaign_id: str) -> int:
    """Delete what is kept of a campaign, and return how many rows that were."""
    arrivals = connection.execute(delete(MailboxArrival).where(MailboxArrival.campaign_id == campaign_id)).rowcount
    return arrivals + connection.execute(delete(Kept).where(Kept.campaign_id == campaign_id)).rowcount
