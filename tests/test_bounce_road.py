"""From a campaign through a real SMTP server to what comes back: the whole service, as it is composed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from app import Services, build
from mailer.bounces.report import Kind, Recorded, Report
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft
from mailer.campaigns.progress import progress
from mailer.settings import Settings
from mailer.settings.return_address import ReturnAddress
from mailer.storage.database import Database
from mailer.storage.models import Delivery, RefusedAddress, User
from tests.smtp_servers import RealServer, running_aiosmtpd
from transports.base import About

pytestmark = pytest.mark.slow

COUNT = 40
ENVELOPE = re.compile(r"bounce\+[a-z2-7]{48}@bounces\.example\.com")
LEAVE = re.compile(
    rb"\r\nList-Unsubscribe: <https://[^>]{1,900}>,\r\n <mailto:(leave\+[a-z2-7]{48}@example\.com)\?subject=unsub"
)
TEXT = ("News", "news@example.com", "Hi [fname]", "Hello [name] [unsubscribe]")


@pytest.fixture
def relay() -> Iterator[RealServer]:
    with running_aiosmtpd() as server:
        yield server


@pytest.fixture
def services(db: Database, relay: RealServer, add_users: Callable[..., list[str]]) -> Iterator[Services]:
    add_users(db, COUNT)
    made = build(
        Settings(
            db.url,
            transport=f"smtp://127.0.0.1:{relay.port}",
            secret_key=("k" * 40,),
            site_url="https://mail.example.com",
            bounce_address=ReturnAddress.parse("bounce+{token}@bounces.example.com"),
            unsubscribe_address=ReturnAddress.parse("leave+{token}@example.com"),
        )
    )
    made.engine.start()
    yield made
    made.engine.stop(10)
    made.transport.close()
    made.db.close()


def send(services: Services, **how: Any) -> str:
    draft = Draft(*TEXT, {}, **{"dry_run": False, **how})
    campaign_id = accept(services.db, "user00000", draft).campaign_id
    services.engine.wake()
    ends = time.monotonic() + 30
    while progress(services.db, campaign_id).state != "completed":
        assert time.monotonic() < ends
        time.sleep(0.02)
    return campaign_id


def test_what_comes_back_to_the_addresses_of_a_campaign_is_recorded(services: Services, relay: RealServer) -> None:
    campaign_id = send(services)
    taken = relay.recorder
    senders = dict(zip(taken.recipients, taken.senders, strict=True))
    contents = dict(zip(taken.recipients, taken.contents, strict=True))
    leaving = {one: found[1].decode() for one, content in contents.items() if (found := LEAVE.search(content))}
    assert len(senders) == len(set(senders.values())) == len(leaving) == COUNT
    assert all(map(ENVELOPE.fullmatch, senders.values()))

    gone, spam, left = (f"user{number:05d}@example.com" for number in (1, 2, 3))
    bounce = Report(kind=Kind.BOUNCED, about=About.ADDRESS, status="5.1.1", sent_to=(senders[gone].upper(),))
    complaint = Report(kind=Kind.COMPLAINED, sent_to=("fbl@example.com", senders[spam]), source="fbl")
    wish = Report(kind=Kind.UNSUBSCRIBED, sent_to=(leaving[left],))
    said = services.record([bounce, complaint, wish, replace(wish, sent_to=(senders[left],)), bounce])

    assert said == Recorded(bounced=1, complained=1, unsubscribed=1, repeated=1, unknown=1)
    with services.db.read() as connection:
        back = select(Delivery.user_id).where(Delivery.campaign_id == campaign_id, Delivery.bounced_at.is_not(None))
        assert connection.scalars(back).all() == ["user00001"]
        suppressed = select(RefusedAddress.address).where(RefusedAddress.suppressed_at.is_not(None))
        assert connection.scalars(suppressed).all() == [spam]
        unsubscribed = select(User.id).where(User.unsubscribed_at.is_not(None)).order_by(User.id)
        assert connection.scalars(unsubscribed).all() == ["user00002", "user00003"]
    assert progress(services.db, campaign_id).sent == COUNT


def test_dry_run_has_the_envelope_of_the_campaign_and_counts_against_nobody(
    services: Services, relay: RealServer
) -> None:
    send(services, dry_run=True)
    [sender] = relay.recorder.senders
    assert ENVELOPE.fullmatch(sender)

    said = services.record([Report(kind=kind, about=About.ADDRESS, sent_to=(sender,)) for kind in Kind])

    assert said == Recorded(unknown=len(Kind))
