"""What becomes of reports: on the delivery, against the address, in the history, and for the campaign."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from mailer.bounces.complaints import ONE_IN
from mailer.bounces.recording import Recorder
from mailer.bounces.report import Kind, Record, Recorded, Report
from mailer.campaigns import control
from mailer.campaigns.invariants import examine
from mailer.campaigns.people.erasure import erase
from mailer.campaigns.people.export import export_person
from mailer.campaigns.retention import purging
from mailer.messages.recipient import user_digest
from mailer.messages.return_addresses import addresses_of
from mailer.messages.template import message_id
from mailer.selector import database_at
from mailer.settings.return_address import ReturnAddress
from mailer.storage.database import Database
from mailer.storage.journal.reader import read
from mailer.storage.journal.writer import Wished, journal_at
from mailer.storage.models import Batch, Campaign, Delivery, Event, RefusedAddress, UnsubscribeEvent, User
from mailer.suppression.bounces_in_a_row import PROVED
from mailer.suppression.suppressed_addresses import lift, suppressed_addresses
from mailer.timeline.events import Kind as Happening
from mailer.times import to_iso
from tests.databases import KINDS, any_database
from tests.harness import Harness
from transports.base import About, Status

BOUNCE, LEAVE = map(ReturnAddress.parse, ("bounce+{token}@example.com", "leave+{token}@example.com"))
GONE = Report(kind=Kind.BOUNCED, about=About.ADDRESS, status="5.1.1", reply="no such\nuser")
SPAM = Report(kind=Kind.COMPLAINED)
LEFT = Report(kind=Kind.UNSUBSCRIBED)
DAY = PROVED // 7


class Road(Harness):
    """A harness whose campaigns have addresses with tokens, and a record of what comes back."""

    def __init__(self, db: Database, **settings: Any) -> None:
        super().__init__(db, **{"bounce_address": BOUNCE, "unsubscribe_address": LEAVE, **settings})
        self.record: Record = Recorder(db, self.settings).record

    def send(self, **how: Any) -> str:
        """Send a campaign, a day later than whatever was before; return its id."""
        self.now += DAY
        campaign_id = self.accept(**how)
        self.run()
        return campaign_id

    def envelope(self, user_id: str) -> str:
        """The sender of the last message to a user."""
        theirs = [one for one in self.store.messages if one.recipient.lower().startswith(user_id)]
        return theirs[-1].sender

    def leaving(self, user_id: str) -> str:
        """The address of List-Unsubscribe in it."""
        theirs = [one for one in self.store.messages if one.recipient.startswith(user_id)]
        return theirs[-1].content.decode().partition("<mailto:")[2].partition("?")[0]

    def back(self, user_id: str) -> Any:
        """What is on record of what came back from them, in the last campaign."""
        mine = (Delivery.campaign_id == self.campaign_id, Delivery.user_id == user_id)
        columns = (Delivery.status, Delivery.bounced_at, Delivery.bounce_about, Delivery.bounce_permanent)
        columns += (Delivery.bounce_status, Delivery.bounce_reply, Delivery.complained_at)
        with self.db.read() as connection:
            return connection.execute(select(*columns).where(*mine)).one()

    def against(self, user_id: str) -> tuple[int, bool]:
        """How many campaigns count against their address, and whether it is suppressed."""
        query = select(RefusedAddress.campaigns, RefusedAddress.suppressed_at)
        mine = RefusedAddress.address == f"{user_id}@example.com"
        with self.db.read() as connection:
            row = connection.execute(query.where(mine)).one_or_none()
        return (row.campaigns, row.suppressed_at is not None) if row else (0, False)

    def bounces(self, *user_ids: str, **changes: Any) -> Recorded:
        """The last messages to these users come back."""
        changed = replace(GONE, **changes)
        return self.record([replace(changed, sent_to=(self.envelope(one),)) for one in user_ids])

    def state(self) -> tuple[str, str | None]:
        """Of the last campaign, with the reason."""
        with self.db.read() as connection:
            mine = select(Campaign.state, Campaign.reason).where(Campaign.id == self.campaign_id)
            return tuple(connection.execute(mine).one())


ON_BOTH = pytest.mark.parametrize("road", KINDS, indirect=True)  # what each kind of database does in its own way


@pytest.fixture
def road(request: pytest.FixtureRequest, tmp_path: Path, add_users: Callable[..., list[str]]) -> Iterator[Road]:
    other = getattr(request, "param", "") == "postgresql"
    url = request.getfixturevalue("postgresql_url") if other else any_database(tmp_path / "mailer.db")
    db = database_at(url)
    add_users(db, 6)
    yield Road(db)
    db.close()


def history(db: Database, user_id: str) -> list[tuple[Any, ...]]:
    columns = (UnsubscribeEvent.event, UnsubscribeEvent.means, UnsubscribeEvent.campaign_id, UnsubscribeEvent.who)
    with db.read() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).where(UnsubscribeEvent.user_id == user_id))]


def everything(db: Database) -> list[Any]:
    """All that a report could change."""
    with db.read() as connection:
        tables = (Delivery, RefusedAddress, User, UnsubscribeEvent, Campaign, Event)
        return [sorted(map(repr, connection.execute(select(one.__table__)).all())) for one in tables]


@ON_BOTH
def test_bounce_is_recorded_beside_the_outcome(road: Road) -> None:
    road.send()
    road.now += 5

    assert road.bounces("user00001", at=road.now - 1) == Recorded(bounced=1)

    there = ("sent", road.now - 1, "address", True, "5.1.1", "no such user", None)
    assert tuple(road.back("user00001")) == there
    assert road.against("user00001") == (1, False)
    assert road.counts() == {"sent": 6}
    assert examine(road.db) == []


@ON_BOTH
def test_replay_changes_nothing(road: Road) -> None:
    road.send()
    assert road.bounces("user00001") == Recorded(bounced=1)
    before = everything(road.db)
    road.now += DAY

    assert road.bounces("user00001", "user00001", reply="other words") == Recorded(repeated=2)

    assert everything(road.db) == before


def test_soft_bounce_that_becomes_permanent_counts_once(road: Road) -> None:
    road.send()

    said = [road.bounces("user00001", permanent=permanent) for permanent in (False, True, False, True)]

    assert said == [Recorded(bounced=1)] * 2 + [Recorded(repeated=1)] * 2
    assert road.against("user00001") == (1, False)
    assert road.back("user00001").bounce_permanent


@pytest.mark.parametrize("at", [0, 10**15, None], ids=["before it was sent", "in the future", "not said"])
def test_time_that_cannot_be_true_is_that_of_the_record(road: Road, at: int | None) -> None:
    road.send()

    road.bounces("user00001", at=at)

    assert road.back("user00001").bounced_at == road.now


@pytest.mark.parametrize("status", ["", "5.1.1 (no user a@example.com)", "9.1.1", "5", "5.1.1\n", "\0"])
def test_what_is_no_status_code_is_not_kept_as_one(road: Road, status: str) -> None:
    road.send()

    road.bounces("user00001", status=status, reply="\0 " + "x" * 5000)

    assert road.back("user00001").bounce_status == ""
    assert road.back("user00001").bounce_reply == "x" * 1000


@pytest.mark.parametrize("about", [one for one in About if one is not About.ADDRESS])
def test_bounce_about_something_else_does_not_count_against_the_address(road: Road, about: About) -> None:
    for _ in range(4):
        road.send()
        assert road.bounces("user00001", about=about) == Recorded(bounced=1)

    assert road.against("user00001") == (0, False)
    assert road.back("user00001").bounce_about == about


def test_delay_is_counted_and_not_recorded(road: Road) -> None:
    road.send()
    before = everything(road.db)

    assert road.bounces("user00001", kind=Kind.DELAYED) == Recorded(delayed=1)

    assert everything(road.db) == before


@pytest.mark.parametrize("kind", Kind)
def test_forged_and_unknown_reports_change_nothing(road: Road, kind: Kind) -> None:
    campaign = road.send()
    ours, leave = road.envelope("user00001"), road.leaving("user00001")
    forged = ours.replace("bounce+", "bounce+a", 1)
    other = ours[:40] + ("a" if ours[40] != "a" else "b") + ours[41:]
    dry = road.send(dry_run=True)
    reports = [
        Report(kind=kind),
        Report(kind=kind, sent_to=(forged, "postmaster@example.com", "")),
        Report(kind=kind, sent_to=(other,)),
        Report(kind=kind, sent_to=(ours if kind is Kind.UNSUBSCRIBED else leave,)),
        Report(kind=kind, address="user00001@example.com"),
        Report(kind=kind, address="user00001@example.com", campaign_id="018bcfe5680" + "0" * 12),
        Report(kind=kind, address="nobody@example.com", campaign_id=campaign),
        Report(kind=kind, campaign_id=campaign),
        Report(kind=kind, campaign_id=campaign, address="\0", message_id="\0"),
        Report(kind=kind, message_id=f"{campaign}.{'0' * 20}@example.com"),
        Report(kind=kind, message_id=message_id(campaign, "user00001", "a@x.y"), address="user00002@example.com"),
        Report(kind=kind, campaign_id=dry, address="user00000@example.com"),
        Report(kind=kind, message_id=message_id(dry, "user00000", "a@x.y"), address="user00000@example.com"),
        Report(kind=kind, sent_to=(road.store.messages[-1].sender,)),
    ]
    before = everything(road.db)

    assert [road.record([one]) for one in reports] == [Recorded(unknown=1)] * len(reports)
    assert road.record(reports) == Recorded(unknown=len(reports))

    assert everything(road.db) == before


def envelope_to_be(road: Road, user_id: str) -> str:
    """The sender of a message that may not have been sent yet."""
    sender = addresses_of(road.settings, road.campaign_id, dry_run=False, sends=True).sender
    assert sender is not None
    return sender(bytes.fromhex(user_digest(user_id)))


def test_bounce_that_comes_before_the_outcome_is_on_record_waits_for_it(road: Road) -> None:
    """In the middle of a checkpoint, as where a relay looks the recipient up at once."""
    road.accept()
    road.plan()
    said: list[Recorded] = []
    gate = road.store.hold()
    report = replace(GONE, sent_to=(envelope_to_be(road, "user00001"),))
    sending = threading.Thread(target=road.deliverer.run_next, args=(lambda: False,))
    sending.start()
    assert gate.wait_reached()
    reading = threading.Thread(target=lambda: said.append(road.record([report])))
    reading.start()
    time.sleep(0.1)
    gate.open()
    sending.join(10)
    reading.join(10)

    assert said == [Recorded(bounced=1)]


@pytest.mark.parametrize("status", [Status.REFUSED, Status.DEFERRED])
def test_what_was_not_sent_does_not_come_back(road: Road, status: Status) -> None:
    road.store.answer("user00001@example.com", status)
    road.accept()
    road.plan()
    road.deliverer.run_next(lambda: False)

    assert road.record([replace(GONE, sent_to=(envelope_to_be(road, "user00001"),))]) == Recorded(unknown=1)


def test_recipients_who_may_have_the_message_can_bounce(road: Road) -> None:
    road.send()
    with road.db.write() as connection:
        mine = (Delivery.user_id == "user00001", Delivery.campaign_id == road.campaign_id)
        connection.execute(update(Delivery).where(*mine).values(status="uncertain"))
        connection.execute(update(Batch).values(sent=Batch.sent - 1, uncertain=1))

    assert road.bounces("user00001") == Recorded(bounced=1)
    assert road.back("user00001").status == "uncertain"


@pytest.mark.parametrize(
    "said",
    [
        lambda road: {"sent_to": ("<BOUNCE+" + road.envelope("user00001")[7:].upper() + ">",)},
        lambda road: {"sent_to": ("prvs=0123ABCDEF=" + road.envelope("user00001"),)},
        lambda road: {
            "sent_to": ("x@y.z", f"SRS0=HH=TT=example.com={road.envelope('user00001')[:55]}@forwarder.example")
        },
        lambda road: {"campaign_id": road.campaign_id, "address": "USER00001@Example.com"},
        lambda road: {"message_id": message_id(road.campaign_id, "user00001", "n@example.com"), "address": None},
        lambda road: {
            "message_id": f"<{message_id(road.campaign_id, 'user00001', 'n@example.com')}>",
            "address": "user00001@example.com",
        },
        lambda road: {
            "message_id": "0102018c-of-the-relay@email.amazonses.example",
            "campaign_id": road.campaign_id,
            "address": "user00001@example.com",
        },
        lambda road: {"sent_to": (road.envelope("user00001"),), "address": "forwarded@elsewhere.example"},
    ],
    ids=["brackets and case", "BATV", "SRS", "campaign", "message id", "both", "relay's own id", "was forwarded"],
)
def test_delivery_is_found(road: Road, said: Callable[[Road], dict[str, Any]]) -> None:
    road.send()

    assert road.record([replace(GONE, **said(road))]) == Recorded(bounced=1)

    assert road.back("user00001").bounced_at == road.now


def test_users_whom_older_code_has_added_are_found(road: Road) -> None:
    road.send()
    with road.db.write() as connection:
        connection.execute(update(User).values(digest=None))

    assert road.bounces("user00001") == Recorded(bounced=1)
    assert road.back("user00001").bounced_at == road.now


def test_keys_are_changed_as_for_links(road: Road) -> None:
    road.send()
    envelope, leave = road.envelope("user00001"), road.leaving("user00002")
    settings = replace(road.settings, secret_key=("new" * 20, *road.settings.secret_key))

    said = Recorder(road.db, settings).record([replace(GONE, sent_to=(envelope,)), replace(LEFT, sent_to=(leave,))])

    assert said == Recorded(bounced=1, unsubscribed=1)
    without = replace(road.settings, secret_key=("new" * 20,))
    assert Recorder(road.db, without).record([replace(SPAM, sent_to=(envelope,))]) == Recorded(unknown=1)


@ON_BOTH
def test_address_is_suppressed_when_enough_campaigns_in_a_row_bounced(road: Road) -> None:
    seen = []
    for _ in range(3):
        road.send()
        road.bounces("user00001")
        seen.append(road.against("user00001"))

    assert seen == [(1, False), (2, False), (3, True)]
    road.send()
    assert road.delivery("user00001") is None
    [one] = suppressed_addresses(road.db)
    assert (one.address, one.campaigns, one.rule, one.reply) == ("user00001@example.com", 3, "5.1.1", "no such user")


def test_acceptance_by_a_relay_does_not_reset_the_count(road: Road) -> None:
    """Each message is taken by the relay, and each comes back a day later."""
    for count in (1, 2, 3):
        road.send()
        road.now += DAY
        road.bounces("user00001")
        assert road.against("user00001") == (count, count == 3)


@ON_BOTH
def test_count_ends_after_two_campaigns_without_a_bounce_for_a_week(road: Road) -> None:
    for _ in range(2):
        road.send()
        road.bounces("user00001")
    road.send()
    road.send()
    road.now += 7 * DAY
    road.send()  # nothing comes back of it yet, and the two before it are a week old
    assert road.against("user00001") == (0, False)

    road.bounces("user00001")

    assert road.against("user00001") == (1, False)


def test_count_ends_also_where_the_next_message_is_the_one_that_bounces(road: Road) -> None:
    for _ in range(2):
        road.send()
        road.bounces("user00001")
    road.send()
    road.send()
    road.now += 6 * DAY
    last = road.envelope("user00001")
    road.now += 2 * DAY

    road.record([replace(GONE, sent_to=(last,))])  # the second of the two comes back late

    assert road.against("user00001") == (3, True)


def test_one_campaign_without_a_bounce_does_not_end_the_count(road: Road) -> None:
    for bounces in (True, False, True, False, True):
        road.send()
        if bounces:
            road.bounces("user00001")
        road.now += 10 * DAY

    assert road.against("user00001") == (3, True)


def test_campaigns_before_the_first_bounce_was_known_are_known_too(road: Road) -> None:
    road.send()
    first = road.envelope("user00001")
    road.send()
    road.send()
    road.now += 8 * DAY

    road.record([replace(GONE, sent_to=(first,))])

    assert road.against("user00001") == (0, False)
    assert road.bounces("user00001") == Recorded(bounced=1)
    assert road.against("user00001") == (1, False)


@ON_BOTH
def test_bounce_and_refusal_count_together_and_a_soft_bounce_is_no_acceptance(road: Road) -> None:
    road.send()
    road.bounces("user00001")
    road.store.answer("user00001@example.com", Status.REFUSED, about=About.ADDRESS)
    road.send()
    assert road.against("user00001") == (2, False)
    road.send()
    road.bounces("user00001", permanent=False, about=About.MAILBOX)
    road.send()
    road.now += 8 * DAY
    road.send()

    assert road.against("user00001") == (2, False)


def test_refusals_keep_their_way_where_bounces_are_not_read(
    any_db: Database, add_users: Callable[..., list[str]]
) -> None:
    add_users(any_db, 2)
    road = Road(any_db, bounce_address=None)
    road.store.answer("user00001@example.com", Status.REFUSED, Status.REFUSED, about=About.ADDRESS)
    road.send()
    road.send()
    assert road.against("user00001") == (2, False)

    road.send()

    assert road.against("user00001") == (0, False)


def test_one_bounce_is_enough_that_taking_a_message_ends_no_count(
    any_db: Database, add_users: Callable[..., list[str]]
) -> None:
    """As where a provider tells of bounces, and the envelope has no tokens."""
    add_users(any_db, 2)
    road = Road(any_db, bounce_address=None)
    theirs = replace(GONE, address="user00001@example.com", source="postmark")
    for count in (1, 2, 3):
        campaign = road.send()
        assert road.record([replace(theirs, campaign_id=campaign)]) == Recorded(bounced=1)
        assert road.against("user00001") == (count, count == 3)


def test_nothing_is_counted_where_addresses_are_never_suppressed(
    any_db: Database, add_users: Callable[..., list[str]]
) -> None:
    add_users(any_db, 2)
    road = Road(any_db, suppress_after=0)
    road.send()

    assert road.bounces("user00001") == Recorded(bounced=1)
    assert road.against("user00001") == (0, False)


@ON_BOTH
def test_users_who_share_an_address_count_once_for_a_campaign(road: Road) -> None:
    shared = User.id.in_(["user00001", "user00002"])
    with road.db.write() as connection:
        connection.execute(update(User).where(shared).values(email="User00001@example.com"))
    campaign = road.send()
    both = [one.sender for one in road.store.messages if one.recipient == "User00001@example.com"]

    said = road.record([replace(GONE, sent_to=(one,)) for one in both])

    assert said == Recorded(bounced=2)
    assert road.against("user00001") == (1, False)
    again = replace(GONE, campaign_id=campaign, address="user00001@example.com")
    assert road.record([again]) == Recorded(repeated=1)


def test_reports_without_a_token_are_each_about_another_of_those_who_share_an_address(road: Road) -> None:
    shared = User.id.in_(["user00001", "user00002"])
    with road.db.write() as connection:
        connection.execute(update(User).where(shared).values(email="both@example.com"))
    one = replace(GONE, campaign_id=road.send(), address="both@example.com")

    assert road.record([one, one, one]) == Recorded(bounced=2, repeated=1)


def test_merged_addresses_get_one_message_and_one_count(any_db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(any_db, 3)
    with any_db.write() as connection:
        connection.execute(update(User).where(User.id != "user00000").values(email="user00001@example.com"))
    road = Road(any_db, merge_addresses=True)
    road.send()
    assert road.arrived().count("user00001@example.com") == 1

    assert road.bounces("user00001") == Recorded(bounced=1)
    assert road.record([replace(SPAM, sent_to=(road.envelope("user00001"),))]) == Recorded(complained=1)

    assert road.against("user00001") == (1, True)
    road.send()
    assert road.arrived().count("user00001@example.com") == 1


@ON_BOTH
def test_complaint_suppresses_at_once_and_is_the_persons_wish(road: Road) -> None:
    campaign = road.send()

    assert road.record([replace(SPAM, sent_to=(road.envelope("user00001"),))]) == Recorded(complained=1)

    assert road.back("user00001").complained_at == road.now
    assert road.against("user00001") == (0, True)
    assert history(road.db, "user00001") == [("unsubscribed", "complaint", campaign, None)]
    road.send()
    assert road.delivery("user00001") is None
    assert road.record(
        [replace(SPAM, campaign_id=campaign, address="user00001@example.com", source="postmark")]
    ) == Recorded(repeated=1)


def test_complaint_is_lifted_by_a_person_alone(road: Road) -> None:
    road.send()
    road.record([replace(SPAM, sent_to=(road.envelope("user00001"),))])

    assert lift(road.db, ["user00001@example.com"]).lifted == 1

    assert road.against("user00001") == (0, False)
    with road.db.read() as connection:  # the wish is theirs, and stays
        assert connection.scalar(select(User.unsubscribed_at).where(User.id == "user00001")) is not None


def test_recipient_who_complains_while_a_campaign_runs_is_told_why(road: Road) -> None:
    road.send()
    sender = road.envelope("user00001")
    with road.db.write() as connection:
        connection.execute(update(User).where(User.id == "user00002").values(email="user00001@example.com"))
    road.now += DAY
    road.accept()
    road.plan()

    road.record([replace(SPAM, sent_to=(sender,))])
    road.run()

    assert road.delivery("user00002").reply == (
        "The address is suppressed: complained, which is marking a message as spam."
    )


@ON_BOTH
def test_wish_by_mail_unsubscribes_and_names_the_campaign(road: Road) -> None:
    campaign = road.send()
    report = replace(LEFT, sent_to=(road.leaving("user00001").upper(),))

    assert road.record([report, report]) == Recorded(unsubscribed=1, repeated=1)

    assert history(road.db, "user00001") == [("unsubscribed", "mail", campaign, None)]
    assert road.against("user00001") == (0, False)


@pytest.mark.parametrize("kind", [Kind.BOUNCED, Kind.COMPLAINED, Kind.DELAYED])
def test_other_reports_to_the_address_for_wishes_unsubscribe_nobody(road: Road, kind: Kind) -> None:
    road.send()

    assert road.record([Report(kind=kind, sent_to=(road.leaving("user00001"),))]) == Recorded(unknown=1)

    assert history(road.db, "user00001") == []


def test_wishes_and_suppressions_are_in_the_journal(road: Road, tmp_path: Path) -> None:
    road.send()
    road.db.journal = journal_at(road.db, str(tmp_path / "journal"), 10**6)

    road.record(
        [replace(SPAM, sent_to=(road.envelope("user00001"),)), replace(LEFT, sent_to=(road.leaving("user00002"),))]
    )

    found = read([tmp_path / "journal"]).wishes
    assert [(one.wish, one.user_id, len(one.hashes)) for one in found] == [
        (Wished.BLOCK, None, 1),
        (Wished.UNSUBSCRIBE, "user00001", 0),
        (Wished.UNSUBSCRIBE, "user00002", 0),
    ]


def complain(road: Road, *numbers: int) -> Recorded:
    return road.record([replace(SPAM, sent_to=(road.envelope(f"user{one:05d}"),)) for one in numbers])


def running(db: Database, add_users: Callable[..., list[str]]) -> Road:
    """A campaign that has sent to twelve of those whom it is for."""
    add_users(db, 30)
    road = Road(db, batch_size=6)
    road.accept()
    road.plan()
    for _ in range(2):
        road.deliverer.run_next(lambda: False)
    assert len(road.store.messages) == 12
    return road


def test_campaign_is_paused_at_the_third_complaint(db: Database, add_users: Callable[..., list[str]]) -> None:
    road = running(db, add_users)
    complain(road, 1, 2)
    assert road.state() == ("running", None)

    complain(road, 3)

    reason = "3 of 12 recipients marked the message as spam, more than one in 1000"
    assert road.state() == ("paused", reason)
    with db.read() as connection:
        [details] = connection.scalars(select(Event.details).where(Event.kind == Happening.PAUSED.value)).all()
    assert details == {"reason": reason, "complaints": 3}
    control.resume(db, road.campaign_id)
    complain(road, 4, 5)
    assert road.state()[0] == "running"
    complain(road, 6)
    assert road.state()[0] == "paused"


def test_complaints_of_fewer_than_one_in_a_thousand_pause_nothing(
    any_db: Database, add_users: Callable[..., list[str]]
) -> None:
    road = running(any_db, add_users)
    with any_db.write() as connection:
        connection.execute(update(Batch).where(Batch.sent > 0).values(sent=4 * ONE_IN))

    complain(road, 1, 2, 3, 4, 5)

    assert road.state() == ("running", None)


def test_campaign_that_is_over_is_not_paused_and_it_is_noted(road: Road) -> None:
    road.send()

    complain(road, 1, 2, 3, 4)

    assert road.state() == ("completed", None)
    with road.db.read() as connection:
        found = connection.scalars(select(Event.details).where(Event.kind == Happening.COMPLAINED.value)).all()
    assert [one["complaints"] for one in found] == [4]


@ON_BOTH
def test_bounce_of_a_purged_campaign_is_recorded_without_words_and_without_an_address(road: Road) -> None:
    road.send()
    road.bounces("user00002")
    road.now += 30 * DAY
    for _ in purging(road.db, DAY):
        pass

    assert road.back("user00002").bounce_reply == ""
    assert road.bounces("user00001") == Recorded(bounced=1)
    assert road.back("user00001").bounce_reply == ""
    assert road.against("user00001") == (0, False)
    assert list(purging(road.db, DAY)) == []


def test_erased_person_leaves_no_words_and_their_token_is_nobodys(road: Road, tmp_path: Path) -> None:
    road.send()
    road.bounces("user00001", reply="<user00001@example.com>: gone")
    erase(road.db, "user00001", spool_path=tmp_path / "spool")
    before = everything(road.db)

    assert road.bounces("user00001") == Recorded(unknown=1)
    assert complain(road, 1) == Recorded(unknown=1)
    assert road.record([replace(LEFT, sent_to=(road.leaving("user00001"),))]) == Recorded(unknown=1)

    assert everything(road.db) == before
    assert "user00001@" not in str(before)


def test_persons_export_has_what_came_back(road: Road) -> None:
    campaign = road.send()
    road.bounces("user00001")
    complain(road, 1)
    road.send()

    at = to_iso(road.now - DAY)
    back = {"bouncedAt": at, "bounceAbout": "address", "bouncePermanent": True, "complainedAt": at}
    back |= {"bounceStatus": "5.1.1", "bounceReply": "no such user"}
    (one,) = (one for one in export_person(road.db, "user00001")["campaigns"] if one["campaignId"] == campaign)
    assert {name: one[name] for name in back} == back
    for one in export_person(road.db, "user00002")["campaigns"]:
        assert {one[name] for name in back} == {None}


def test_all_reports_of_a_call_are_recorded_or_none(road: Road) -> None:
    class Full:
        def wish(self, *_: Any) -> None:
            raise OSError("no room")

    road.send()
    road.db.journal = Full()  # type: ignore[assignment]
    before = everything(road.db)

    with pytest.raises(OSError, match="no room"):
        road.record(
            [replace(GONE, sent_to=(road.envelope("user00001"),)), replace(SPAM, sent_to=(road.envelope("user00002"),))]
        )

    assert everything(road.db) == before


def test_nothing_to_record_asks_the_database_nothing(road: Road) -> None:
    road.db.close()

    assert road.record([]) == Recorded()
