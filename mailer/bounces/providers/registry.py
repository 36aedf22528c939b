"""The providers whose settings are there: nobody else is let in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mailer.bounces.providers.amazon_hosts import Fetch, fetch
from mailer.bounces.providers.base import Provider
from mailer.bounces.providers.mailgun import EARLIEST, OLDEST, MailgunProvider
from mailer.bounces.providers.mailjet import MailjetProvider
from mailer.bounces.providers.postmark import PostmarkProvider
from mailer.bounces.providers.sendgrid import SendGridProvider
from mailer.bounces.providers.sns import SesProvider
from mailer.bounces.providers.sparkpost import SparkPostProvider
from mailer.bounces.providers.used_tokens import UsedTokens
from mailer.settings import Settings
from mailer.storage.database import Database


def providers_of(settings: Settings, db: Database, fetch_: Fetch = fetch) -> Mapping[str, Provider]:
    """Those that are set up, by name. `fetch_` asks Amazon's hosts."""
    return {one.name: one for one in _providers(settings, db, fetch_)}


def _providers(settings: Settings, db: Database, fetch_: Fetch) -> Iterator[Provider]:
    if settings.bounces_ses_topic:
        yield SesProvider(settings.bounces_ses_topic, fetch_)
    if settings.bounces_mailgun_key:
        yield MailgunProvider(settings.bounces_mailgun_key, UsedTokens(db, "mailgun", OLDEST + 2 * EARLIEST))
    if settings.bounces_sendgrid_key:
        yield SendGridProvider(settings.bounces_sendgrid_key)
    if settings.bounces_postmark_secret:
        yield PostmarkProvider(settings.bounces_postmark_secret)
    if settings.bounces_sparkpost_secret:
        yield SparkPostProvider(settings.bounces_sparkpost_secret)
    if settings.bounces_mailjet_secret:
        yield MailjetProvider(settings.bounces_mailjet_secret)
