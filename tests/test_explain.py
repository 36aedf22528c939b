"""What came of somebody in each campaign, and where nothing did, why: asked by id, user name or address."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from sqlalchemy import delete, select, update

from app import create_app
from mailer.audit.actor import Actor, Via, acting
from mailer.audit.log import FEW, Act, record
from mailer.callers.tokens import PERMISSIONS, Tokens
from mailer.campaigns import control
from mailer.campaigns.hold import hold
from mailer.campaigns.people.actions import Action, act
from mailer.campaigns.people.copies import Twice
from mailer.campaigns.people.erasure import erase
from mailer.campaigns.people.explain import Answer, Explanation, copies_of, explain
from mailer.campaigns.people.explained import explanation_as_json
from mailer.campaigns.people.named import SECONDS, named
from mailer.campaigns.people.outcomes import page_of_outcomes
from mailer.campaigns.people.recorded_reasons import Code
from mailer.campaigns.retention import purge
from mailer.campaigns.revisions.edit import edit
from mailer.campaigns.revisions.served import served
from mailer.cli import main
from mailer.directory.users import patch_user
from mailer.errors import NotFound
from mailer.messages.links import Links
from mailer.messages.template import message_id
from mailer.settings import Settings
from mailer.settings.send_window import SendWindow
from mailer.storage.database import Database
from mailer.storage.models import Batch, Campaign, CampaignText, Delivery, User
from mailer.suppression.blocked_addresses import block
from mailer.suppression.history import Cause, Means
from mailer.suppression.list_files import ListedAddress, ListedPerson
from mailer.suppression.refused_addresses import AddressOutcome, count
from mailer.suppression.suppressed_addresses import lift
from mailer.suppression.unsubscribe_lists import unsubscribe_listed
from mailer.suppression.unsubscribes import resubscribe, unsubscribe
from tests.harness import MINUTE, START, Harness
from tests.test_signed_in_pages import sign_in
from transports.base import Status

KEY = "k" * 40
DAY = 24 * 60 * 60 * 1000
ADA, ADDRESS = "user00001", "user00001@example.com"
OPERATOR = Actor("desk", Via.CLI, "host")


@pytest.fixture
def harness(db: Database, add_users: Callable[..., list[str]]) -> Harness:
    add_users(db, 4)
    return Harness(db)


def accepted_after(harness: Harness, query: dict[str, Any] | None = None) -> str:
    """A campaign whose id comes after those before."""
    harness.now += 1
    return harness.accept(query)


def answer_of(harness: Harness, whom: str = ADA, **options: Any) -> Answer:
    (one,) = explain(harness.db, whom, campaign_id=harness.campaign_id, **options).users
    (answer,) = one.answers
    return answer


def why(harness: Harness, whom: str = ADA, **options: Any) -> tuple[Code, str]:
    found = answer_of(harness, whom, **options)
    assert (found.outcome is None) == (found.reason.code not in {*Code} & {"sent", "failed", "deferred", "uncertain"})
    return found.reason.code, found.reason.text


# ---- where there is an outcome


def test_outcome_has_the_relays_words_and_the_message_id_of_the_message(harness: Harness) -> None:
    harness.accept()
    harness.run()
    found = answer_of(harness)
    assert found.outcome is not None
    assert (found.reason.code, found.outcome.status, found.outcome.reply) == (Code.SENT, "sent", "memory: sent")
    assert (found.outcome.attempts, found.outcome.address) == (1, ADDRESS)
    (content,) = (one.content for one in harness.store.messages if one.recipient == ADDRESS)
    assert f"\r\nMessage-ID: <{found.outcome.message_id}>\r\n".encode() in content


@pytest.mark.parametrize(
    ("status", "code"), [(Status.REFUSED, Code.FAILED), (Status.DEFERRED, Code.DEFERRED)], ids=["failed", "deferred"]
)
def test_refusals_are_told_in_their_own_words(harness: Harness, status: Status, code: Code) -> None:
    harness.store.answer(ADDRESS, status)
    harness.accept()
    harness.run()
    found = answer_of(harness, ADDRESS.upper())
    assert found.outcome is not None
    assert (found.reason.code, found.reason.text) == (code, found.outcome.reply)
    assert (found.outcome.next_attempt_at is None) == (code is Code.FAILED)


def test_who_left_while_it_was_sent_is_told_by_what(harness: Harness) -> None:
    earlier = harness.accept()
    harness.run()
    harness.accept()
    harness.plan()
    harness.now += MINUTE
    with acting(Actor("recipient", Via.LINK, "")):
        unsubscribe(harness.db, ADA, by=Cause(Means.ONE_CLICK, campaign_id=earlier))
    harness.run()
    found = answer_of(harness)
    assert found.outcome is not None
    assert (found.outcome.status, found.reason.code) == ("skipped", Code.UNSUBSCRIBED)
    assert found.reason.text == (
        f"They had unsubscribed: 2023-11-14T22:14:20Z, by one-click, in a message of the campaign {earlier}."
    )


def test_who_is_blocked_or_deactivated_while_it_is_sent_is_skipped_for_that(harness: Harness) -> None:
    harness.accept()
    harness.plan()
    harness.now += MINUTE
    block(harness.db, [ListedAddress(ADDRESS)], by="desk", reason="a court order")
    with harness.db.write() as connection:
        connection.execute(update(User).where(User.id == "user00002").values(email=None))
    harness.run()
    found = answer_of(harness)
    assert (found.reason.code, found.outcome and found.outcome.status) == (Code.SUPPRESSED, "skipped")
    assert "a court order" in found.reason.text


# ---- where there is none


def unsubscribed_before(harness: Harness) -> None:
    with acting(OPERATOR):
        unsubscribe(harness.db, ADA)
    harness.now += MINUTE
    harness.accept()
    harness.run()
    with acting(OPERATOR):
        resubscribe(harness.db, ADA)  # it is told as it was then


def listed_before(harness: Harness) -> None:
    unsubscribe_listed(harness.db, [ListedPerson(None, ADDRESS)], by="desk", source="left.csv")
    harness.now += MINUTE
    harness.accept()
    harness.run()


def blocked_before(harness: Harness) -> None:
    block(harness.db, [ListedAddress(ADDRESS)], by="desk", reason="a court order")
    harness.now += MINUTE
    harness.accept()
    harness.run()


def changed(**values: Any) -> Callable[[Harness], None]:
    def do(harness: Harness) -> None:
        with harness.db.write() as connection:
            connection.execute(update(User).where(User.id == ADA).values(**values))
        harness.accept()
        harness.run()

    return do


def other_query(harness: Harness) -> None:
    harness.accept({"_id": "user00002"})
    harness.run()


def cancelled(harness: Harness) -> None:
    harness.accept()
    harness.plan()
    control.cancel(harness.db, harness.campaign_id)
    with harness.db.write() as connection:
        connection.execute(delete(Delivery))


def cancelled_early(harness: Harness) -> None:
    harness.accept()
    control.cancel(harness.db, harness.campaign_id)


def waiting(harness: Harness) -> None:
    harness.accept()
    harness.plan()


def waiting_though_they_left(harness: Harness) -> None:
    waiting(harness)
    harness.now += MINUTE
    with acting(OPERATOR):
        unsubscribe(harness.db, ADA)  # they will be skipped, once it is their turn


def waiting_and_inactive(harness: Harness) -> None:
    waiting(harness)
    imported(active=False)(harness)


def cancelled_after_they_went(harness: Harness) -> None:
    """They went only after it was cancelled, which is then no reason."""
    cancelled(harness)
    harness.now += MINUTE
    patches(active=False)(harness)


def cancelled_when_all_were_tried(harness: Harness) -> None:
    with harness.db.write() as connection:
        connection.execute(update(User).where(User.id == ADA).values(active=False))
    harness.accept()
    harness.plan()
    with harness.db.write() as connection:
        connection.execute(update(Batch).values(sent=Batch.planned))
        connection.execute(update(User).where(User.id == ADA).values(active=True))
    control.cancel(harness.db, harness.campaign_id)


def held(harness: Harness) -> None:
    waiting(harness)
    with acting(OPERATOR):
        hold(harness.db, "the relay is being moved")


def dry(harness: Harness) -> None:
    harness.accept(dry_run=True)
    harness.run()


def failed(harness: Harness) -> None:
    harness.accept()
    with harness.db.write() as connection:
        connection.execute(update(Campaign).values(state="failed", reason="its query takes too long"))


def came_later(harness: Harness) -> None:
    harness.accept({"_id": {"$lt": ADA}})
    harness.run()
    with harness.db.write() as connection:
        connection.execute(update(Campaign).values(query={}))
        connection.execute(update(User).where(User.id == ADA).values(created_at=START + MINUTE))


def matches_later(harness: Harness) -> None:
    harness.accept({"_id": {"$lt": ADA}})
    harness.run()
    with harness.db.write() as connection:
        connection.execute(update(Campaign).values(query={}))  # as if they had come to match it since


def sent_between(before: Callable[[Harness], None], after: Callable[[Harness], None]) -> Callable[[Harness], None]:
    """What kept them out is over when somebody asks."""

    def do(harness: Harness) -> None:
        with acting(OPERATOR):
            before(harness)
            harness.now += MINUTE
            harness.accept()
            harness.run()
            harness.now += MINUTE
            after(harness)

    return do


def blocks(harness: Harness) -> None:
    block(harness.db, [ListedAddress(ADDRESS)], by="desk", reason="a court order")


def refuses(harness: Harness) -> None:
    with harness.db.write() as connection:
        count(connection, "c", [AddressOutcome(ADDRESS, "550 5.1.1 nobody")], harness.now, 1)


def lifts(harness: Harness) -> None:
    lift(harness.db, [ADDRESS])


def lifts_a_list(harness: Harness) -> None:
    lift(harness.db, [ADDRESS, *(f"x{number}@example.com" for number in range(FEW))])


def patches(**changes: Any) -> Callable[[Harness], None]:
    return lambda harness: patch_user(harness.db, ADA, changes) and None


def syncs(harness: Harness) -> None:
    """A change of many users, of which the log names none."""
    with harness.db.write() as connection:
        record(connection, harness.now, Act.SYNC_USERS)
        connection.execute(update(User).where(User.id == ADA).values(active=True))


def imported(**values: Any) -> Callable[[Harness], None]:
    def do(harness: Harness) -> None:
        with harness.db.write() as connection:
            connection.execute(update(User).where(User.id == ADA).values(**values))

    return do


def inactive_then_synced(harness: Harness) -> None:
    patches(active=False)(harness)
    harness.now += MINUTE
    syncs(harness)
    imported(active=False)(harness)


def purged(harness: Harness) -> None:
    other_query(harness)
    harness.now += 2 * DAY
    purge(harness.db, DAY)


REASONS: dict[str, tuple[Callable[[Harness], None], Code, str]] = {
    "unsubscribed then": (unsubscribed_before, Code.UNSUBSCRIBED, "2023-11-14T22:13:20Z, by operator (desk)"),
    "on a list then": (listed_before, Code.UNSUBSCRIBED, "by list (desk)"),
    "an unknown mark": (changed(unsubscribed_at=5), Code.UNSUBSCRIBED, "by unknown"),
    "blocked": (blocked_before, Code.SUPPRESSED, "blocked by desk: a court order"),
    "inactive": (changed(active=False), Code.INACTIVE, "inactive"),
    "no address": (changed(email=None), Code.NO_ADDRESS, "no valid address"),
    "another query": (other_query, Code.NO_MATCH, "does not select them"),
    "cancelled": (cancelled, Code.CANCELLED, "before their turn"),
    "cancelled early": (cancelled_early, Code.CANCELLED, "before it was planned"),
    "accepted only": (lambda harness: harness.accept() and None, Code.WAITING, "not planned yet"),
    "waiting": (waiting, Code.WAITING, "The campaign is running"),
    "waiting though they left": (waiting_though_they_left, Code.WAITING, "Their turn has not come yet"),
    "waiting and inactive": (waiting_and_inactive, Code.INACTIVE, "inactive"),
    "inactive after the end": (cancelled_after_they_went, Code.CANCELLED, "before their turn"),
    "cancelled without them": (cancelled_when_all_were_tried, Code.NOT_KNOWN, "the record does not tell"),
    "held": (held, Code.WAITING, "the relay is being moved"),
    "a dry run": (dry, Code.DRY_RUN, "From"),
    "failed": (failed, Code.NOT_SENT, "its query takes too long"),
    "came later": (came_later, Code.TOO_LATE, "after it was planned"),
    "matches later": (matches_later, Code.NOT_KNOWN, "They may have been inactive or without an address then"),
    "blocked then": (sent_between(blocks, lifts), Code.SUPPRESSED, "blocked by desk"),
    "blocked then, with a note": (
        sent_between(lambda h: act(h.db, ADA, Action.BLOCK, "a court order") and None, lifts),
        Code.SUPPRESSED,
        "blocked by desk: a court order",
    ),
    "refused then": (sent_between(refuses, lifts), Code.SUPPRESSED, "refused in 1 campaigns"),
    "lifted by a list": (sent_between(blocks, lifts_a_list), Code.SUPPRESSED, "blocked by desk"),
    "blocked, lifted by an unlogged list": (
        sent_between(lambda h: [step(h) for step in (blocks, lifts_a_list, refuses)] and None, lifts_a_list),
        Code.NOT_KNOWN,
        "suppressed, inactive or without an address",
    ),
    "inactive then": (
        sent_between(patches(active=False), patches(active=True)),
        Code.INACTIVE,
        "deactivated by desk, 2023-11-14T22:13:20Z",
    ),
    "no address then": (
        sent_between(patches(emails=None), patches(emails=[{"address": ADDRESS}])),
        Code.NO_ADDRESS,
        "They had no valid address: changed by desk",
    ),
    "inactive then, by an import": (
        sent_between(imported(active=False), imported(active=True)),
        Code.NOT_KNOWN,
        "the record does not tell",
    ),
    "deactivated, and a sync since": (
        sent_between(inactive_then_synced, imported(active=True)),
        Code.NOT_KNOWN,
        "They were inactive: deactivated by desk",
    ),
    "blocked only after it": (
        sent_between(imported(active=False), lambda h: [step(h) for step in (imported(active=True), blocks)] and None),
        Code.NOT_KNOWN,
        "the record does not tell",
    ),
    "deactivated only after it": (
        sent_between(
            imported(email=None),
            lambda h: [step(h) for step in (imported(email=ADDRESS), patches(active=False))] and None,
        ),
        Code.NOT_KNOWN,
        "the record does not tell",
    ),
    "purged": (purged, Code.PURGED, "purged"),
}


@pytest.mark.parametrize("what", REASONS)
def test_reason_where_there_is_no_outcome(harness: Harness, what: str) -> None:
    done, code, words = REASONS[what]
    done(harness)
    found, text = why(harness)
    assert (found, words in text) == (code, True), text


def test_closed_window_is_told(harness: Harness) -> None:
    waiting(harness)
    assert "09:00" in why(harness, window=SendWindow.parse("Mon-Fri 09:00-10:00 UTC"))[1]


def test_merged_users_are_told_who_got_the_message(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 3, email="one@example.com")
    harness = Harness(db, merge_addresses=True)
    harness.accept()
    harness.run()
    assert harness.arrived() == ["one@example.com"]
    code, text = why(harness)
    assert (code, "user00000" in text) == (Code.MERGED, True)
    unsubscribe(db, "user00002")
    harness.now += MINUTE
    harness.accept()
    harness.run()
    assert why(harness)[0] is Code.MERGED
    assert "had unsubscribed" in why(harness)[1]
    assert why(harness, "user00002")[0] is Code.UNSUBSCRIBED


# ---- who is meant


def test_person_is_found_by_id_user_name_and_address_in_any_case(harness: Harness) -> None:
    first, second = harness.accept(), accepted_after(harness)
    harness.run()
    with harness.db.write() as connection:
        connection.execute(update(User).where(User.id == ADA).values(username="ada"))
    for whom in (ADA, "ada", ADDRESS.upper()):
        (one,) = explain(harness.db, whom).users
        assert (one.user_id, [answer.campaign_id for answer in one.answers]) == (ADA, [second, first])
    with pytest.raises(NotFound, match="nobody"):
        explain(harness.db, "nobody")
    with pytest.raises(NotFound, match="campaign"):
        explain(harness.db, ADA, campaign_id="x")


def test_address_that_nobody_has_is_answered(harness: Harness) -> None:
    unsubscribe_listed(harness.db, [ListedPerson(None, "left@example.com")], by="desk", source="left.csv")
    block(harness.db, [ListedAddress("left@example.com")], by="desk", reason="x")
    harness.accept()
    found = explain(harness.db, "Left@example.com")
    assert found.address is not None
    assert [(one.event, one.source) for one in found.address.events] == [("unsubscribed", "left.csv")]
    assert (found.users, found.address.suppressed_at, found.address.erased) == ([], START, False)


def test_who_had_the_address_then_is_found_by_one_campaign(harness: Harness) -> None:
    harness.accept()
    harness.run()
    with harness.db.write() as connection:
        connection.execute(update(User).where(User.id == ADA).values(email="new@example.com"))
    assert explain(harness.db, ADDRESS).address is not None
    assert answer_of(harness, ADDRESS.upper()).reason.code is Code.SENT


def test_erased_are_answered_by_id_alone(harness: Harness) -> None:
    harness.accept()
    harness.run()
    erase(harness.db, ADA, spool_path=Path("/nonexistent"))
    (one,) = explain(harness.db, ADA).users
    assert (one.person, one.answers[0].outcome and one.answers[0].outcome.address) == (None, None)
    harness.accept()
    harness.run()
    assert why(harness)[0] is Code.GONE
    found = explain(harness.db, ADDRESS)
    assert found.address is not None
    assert found.address.erased


def test_campaigns_come_page_by_page(harness: Harness) -> None:
    ids = [accepted_after(harness) for _ in range(5)]
    seen, before = [], None
    for _ in range(3):
        page: Explanation = explain(harness.db, ADA, before=before, count=2)
        seen += [one.campaign_id for one in page.users[0].answers]
        before = page.following
    assert (seen, before) == (ids[::-1], None)


# ---- I got it twice


def ways(harness: Harness, whom: str, **options: Any) -> list[tuple[Twice, list[str], list[str]]]:
    return [(one.how, [*one.campaigns], [*one.users]) for one in explain(harness.db, whom, **options).copies]


def test_once_is_not_twice(harness: Harness) -> None:
    harness.accept()
    harness.accept(dry_run=True)
    harness.run()
    assert ways(harness, ADA) == []


def test_twice_by_several_campaigns(harness: Harness) -> None:
    first, second = harness.accept(), accepted_after(harness)
    harness.run()
    assert ways(harness, ADA) == [(Twice.CAMPAIGNS, [first, second], [ADA])]
    assert ways(harness, ADA, campaign_id=first) == [(Twice.CAMPAIGNS, [first, second], [ADA])]


def test_twice_by_several_users_at_the_address(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 2, email="one@example.com")
    harness = Harness(db)
    harness.accept()
    harness.run()
    assert ways(harness, "one@example.com") == [(Twice.USERS, [harness.campaign_id], ["user00000", ADA])]


def test_twice_by_a_try_that_had_no_answer(harness: Harness) -> None:
    harness.accept()
    harness.run()
    with harness.db.write() as connection:
        connection.execute(update(Delivery).where(Delivery.user_id == ADA).values(uncertain_attempts=1))
    (found,) = explain(harness.db, ADA).copies
    assert (found.how, found.campaigns, found.users) == (Twice.RETRY, [harness.campaign_id], [ADA])
    assert message_id(harness.campaign_id, ADA, "news@example.com") in found.text


def test_twice_is_told_however_one_asks(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 2, email="one@example.com")
    harness = Harness(db)
    harness.accept()
    harness.run()
    with db.write() as connection:
        connection.execute(update(User).where(User.id == ADA).values(username="tw1"))
    expected = [(Twice.USERS, [harness.campaign_id], ["user00000", ADA])]
    for whom in ("one@example.com", ADA, "tw1", "user00000"):
        assert ways(harness, whom) == ways(harness, whom, campaign_id=harness.campaign_id) == expected, whom
    assert [one.how for one in copies_of(db, "tw1")] == [Twice.USERS]


def test_who_has_come_to_the_address_since_was_sent_nothing_there(harness: Harness) -> None:
    harness.accept()
    harness.run()
    with harness.db.write() as connection:
        connection.execute(update(User).where(User.id == "user00002").values(email=ADDRESS))
    assert ways(harness, ADA) == []


def test_tries_without_an_answer_count_as_tries(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    harness.accept()
    harness.run()
    with harness.db.write() as connection:
        connection.execute(update(Delivery).where(Delivery.user_id == ADA).values(uncertain_attempts=1))
    outcome = answer_of(harness).outcome
    assert outcome is not None
    assert outcome.tries == 2
    monkeypatch.setenv("MAILER_DATABASE_URL", harness.db.url)
    assert "2 (1 without an answer)" in CliRunner().invoke(main, ["explain", ADA]).stdout


# ---- which text


@pytest.fixture
def mended(db: Database, add_users: Callable[..., list[str]]) -> Harness:
    """A campaign for 25 people: ten have the first text, and the others the second."""
    add_users(db, 25)
    harness = Harness(db)
    harness.accept()
    harness.plan()
    harness.deliverer.run_next(lambda: False)
    control.pause(db, harness.campaign_id)
    edit(db, harness.settings, harness.campaign_id, subject="Corrected")
    control.resume(db, harness.campaign_id)
    harness.run()
    return harness


def test_text_that_somebody_read_is_told(mended: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    with mended.db.read() as connection:
        first = connection.scalar(select(CampaignText.subject).where(CampaignText.version == 1))
    for whom, subject, version in ((ADA, first, 1), ("user00024", "Corrected", 2)):
        found = answer_of(mended, whom)
        assert found.outcome is not None
        assert (found.subject, found.outcome.version, found.versions) == (subject, version, 2)
        (listed,) = page_of_outcomes(mended.db, whom, before=None, count=5)
        assert listed.subject == subject
    told = explanation_as_json(explain(mended.db, ADA))["users"][0]["campaigns"][0]
    assert (told["subject"], told["versions"], told["outcome"]["version"]) == (first, 2, 1)
    monkeypatch.setenv("MAILER_DATABASE_URL", mended.db.url)
    printed = CliRunner().invoke(main, ["explain", ADA]).stdout
    assert "version" in printed
    assert f"{first} " in printed
    assert "Corrected" not in printed
    versions, unknown = served(mended.db, mended.campaign_id)
    assert ([(one.revision.version, one.people) for one in versions], unknown) == ([(1, 10), (2, 15)], 0)


def test_several_campaigns_are_compared_by_the_text_that_was_sent(mended: Harness) -> None:
    first = mended.campaign_id
    second = accepted_after(mended)
    mended.run()
    assert ways(mended, ADA) == [(Twice.CAMPAIGNS, [first, second], [ADA])]
    assert ways(mended, ADA, campaign_id=first) == [(Twice.CAMPAIGNS, [first, second], [ADA])]
    assert ways(mended, "user00024") == []


# ---- an address that somebody had


def moved(harness: Harness) -> str:
    """Somebody has another address since the campaign; a few campaigns for others came after it."""
    first = harness.accept()
    harness.run()
    with harness.db.write() as connection:
        connection.execute(update(User).where(User.id == ADA).values(email="new@example.com"))
    for _ in range(3):
        accepted_after(harness, {"_id": "user00002"})
        harness.run()
    return first


def test_former_address_is_found_in_the_latest_campaigns(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    first = moved(harness)
    found = explain(harness.db, ADDRESS.upper())
    assert found.address is not None
    assert (found.address.campaigns, [one.user_id for one in found.users]) == (4, [ADA])
    assert found.users[0].answers[-1].campaign_id == first
    monkeypatch.setenv("MAILER_DATABASE_URL", harness.db.url)
    printed = CliRunner().invoke(main, ["explain", ADDRESS])
    assert printed.exit_code == 0
    assert "in the latest 4 campaigns it was sent to at 1 users" in printed.stdout
    assert first in printed.stdout
    nobody = CliRunner().invoke(main, ["explain", "gone@example.com"]).stdout
    assert "nobody had it in the latest 4 campaigns" in nobody


def test_look_for_a_former_address_ends_in_time_and_says_how_far_it_came(harness: Harness) -> None:
    moved(harness)
    times = iter([0.0, 0.0, SECONDS - 0.1, SECONDS + 0.1])
    with harness.db.read() as connection:
        found = named(connection, ADDRESS, clock=lambda: next(times))
    assert found.address is not None
    assert (found.user_ids, found.address.campaigns) == ([], 2)


@pytest.mark.slow
def test_pages_tell_of_an_address_and_of_versions(mended: Harness) -> None:
    made = create_app(Settings(database_url=mended.db.url, secret_key=(KEY,), transport="memory:", rate_limit=""))
    client = made.test_client()
    permissions = ["manage-users", "manage-campaigns"]
    sign_in(client, "user00000", Tokens(mended.db).create("user00000", permissions))
    page = client.get(f"/mailer/campaigns/{mended.campaign_id}").text
    assert 'id="versions"' in page
    assert '<td class="figure" data-label="Went to">10</td>' in page
    assert "version 1 ·" in client.get(f"/mailer/campaigns/{mended.campaign_id}/outcomes").text
    assert "version 1 ·" in client.get(f"/mailer/people/{ADA}?every=1").text
    with mended.db.write() as connection:
        connection.execute(update(User).where(User.id == ADA).values(email="user00002@example.com"))
        connection.execute(update(Delivery).where(Delivery.user_id == "user00002").values(uncertain_attempts=1))
    found = client.get("/mailer/people/", query_string={"q": ADDRESS}).text
    assert f'people/{ADA}?every=1"' in found
    assert "Nobody has it now." in found
    german = {"Accept-Language": "de"}
    assert "Zu dieser Adresse" in client.get("/mailer/people/", query_string={"q": ADDRESS}, headers=german).text
    for whom in ("people/?q=user00002@example.com", "people/user00002"):  # whatever the way to it
        assert "Up to 2 copies" in client.get(f"/mailer/{whom}").text, whom
    made.extensions["mailer"].db.close()


# ---- the ways in


@pytest.fixture
def app(harness: Harness) -> Any:
    harness.accept()
    harness.run()
    accepted_after(harness, {"_id": "user00002"})
    harness.run()
    made = create_app(Settings(database_url=harness.db.url, secret_key=(KEY,), transport="memory:", rate_limit=""))
    yield made
    made.extensions["mailer"].db.close()


def test_api_explains_and_lists_by_user_and_address(app: Flask, harness: Harness) -> None:
    token = Tokens(harness.db).create_for_service("desk", PERMISSIONS)
    headers = {"X-User-Id": "service:desk", "X-Auth-Token": token}

    def get(path: str) -> Any:
        return app.test_client().get(f"/api/v1/mailer/{path}", headers=headers)

    for whom in (ADA, ADDRESS.upper()):
        found = get(f"users/{whom}/explain").json
        (one,) = found["users"]
        assert [answer["reason"] for answer in one["campaigns"]] == ["no-match", "sent"]
        outcome = one["campaigns"][1]["outcome"]
        assert (outcome["address"], outcome["reply"]) == (ADDRESS, "memory: sent")
    first = found["users"][0]["campaigns"][1]["campaignId"]
    assert get(f"users/{ADA}/explain?campaign={first}").json["users"][0]["campaigns"][0]["reason"] == "sent"
    assert get(f"users/{ADA}/explain?count=1").json["next"] == harness.campaign_id
    assert get("users/gone@example.com/explain").json["address"]["erased"] is False
    assert get("users/nobody/explain").status_code == 404
    assert get(f"users/{ADA}/explain?campaign=x").status_code == 404

    for wanted in (f"userId={ADA}", "address=USER00001@example.com"):
        (delivery,) = get(f"campaigns/{first}/deliveries?{wanted}").json["deliveries"]
        assert (delivery["userId"], delivery["messageId"]) == (ADA, outcome["messageId"])
        rows = get(f"campaigns/{first}/export?{wanted}").text.splitlines()
        assert (len(rows), rows[0].split(",")[7:9]) == (2, ["messageId", "version"])
        assert rows[1].endswith(f"{outcome['messageId']},1,,,,,,")
    assert get(f"campaigns/{first}/deliveries?userId=x").json["deliveries"] == []
    refused = get(f"campaigns/{first}/deliveries?address=nonsense")
    assert (refused.status_code, "address" in refused.json["error"]) == (400, True)


def test_senders_without_the_permission_explain_nobody(app: Flask, harness: Harness) -> None:
    headers = {"X-User-Id": "user00000", "X-Auth-Token": Tokens(harness.db).create("user00000", ["send-mail"])}
    assert app.test_client().get(f"/api/v1/mailer/users/{ADA}/explain", headers=headers).status_code == 403


def test_command_explains(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    first = harness.accept()
    harness.run()
    accepted_after(harness, {"_id": "user00002"})
    harness.run()
    monkeypatch.setenv("MAILER_DATABASE_URL", harness.db.url)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["explain", *arguments])

    found = run(ADDRESS)
    assert found.exit_code == 0, found.output
    sent = next(line for line in found.stdout.splitlines() if line.startswith(first))
    assert "memory: sent" in sent
    assert message_id(first, ADA, "news@example.com") in sent
    assert "no-match" in found.stdout
    told = json.loads(run(ADA, "--campaign", first, "--json").stdout)
    assert told["users"][0]["campaigns"][0]["reason"] == "sent"
    assert "older campaigns" in run(ADA, "--limit", "1").stderr
    assert "nobody has this address" in run("gone@example.com").stdout
    for wrong in (("nobody",), (ADA, "--campaign", "x")):
        refused = run(*wrong)
        assert (refused.exit_code, refused.stdout) == (1, "")


def test_links_of_a_sent_message_lead_to_the_answer(harness: Harness) -> None:
    """The whole story: a message, its link, and what the operator is told of it afterwards."""
    first = harness.accept()
    harness.run()
    links = Links((KEY,), "http://x")
    token = links.link(ADA, links.cause(first)).rpartition("/")[2]
    with acting(Actor("recipient", Via.LINK, "")):
        cause = Cause(Means.LINK, campaign_id=links.campaign(token))
        assert unsubscribe(harness.db, links.read(token) or "", by=cause)
    harness.now += MINUTE
    harness.accept()
    harness.run()
    (one,) = explain(harness.db, ADDRESS).users
    later, earlier = one.answers
    assert (later.reason.code, earlier.reason.code) == (Code.UNSUBSCRIBED, Code.SENT)
    assert first in later.reason.text


@pytest.mark.slow
def test_persons_page_shows_the_same_answer(app: Flask, harness: Harness) -> None:
    client = app.test_client()
    first = explain(harness.db, ADA).users[0].answers[-1].campaign_id
    with acting(Actor("recipient", Via.LINK, "")):
        unsubscribe(harness.db, ADA, by=Cause(Means.ONE_CLICK, campaign_id=first))
    sign_in(client, "user00000", Tokens(harness.db).create("user00000", ["manage-users", "manage-campaigns"]))
    plain = client.get(f"/mailer/people/{ADA}").text
    assert "not selected" not in plain
    assert f'<a href="../campaigns/{first}">{first}</a>' in plain  # from which campaign they left
    assert "by their mail program" in plain
    page = client.get(f"/mailer/people/{ADA}?every=1").text
    assert "not selected" in page
    assert message_id(first, ADA, "news@example.com") in page
    for answer in explain(harness.db, ADA).users[0].answers:
        assert answer.reason.text in page
    german = client.get(f"/mailer/people/{ADA}?every=1", headers={"Accept-Language": "de"}).text
    assert "nicht ausgewählt" in german
    for whom, rows in ((ADA, 1), (ADDRESS.upper(), 1), ("nobody", 0), ("", 4)):
        outcomes = client.get(f"/mailer/campaigns/{first}/outcomes", query_string={"whom": whom}).text
        assert outcomes.count('<th scope="row">') == rows, whom
        exported = client.get(f"/mailer/campaigns/{first}/export", query_string={"whom": whom}).text
        assert exported.count("\r\n") == rows + 1, whom
    assert client.get(f"/mailer/campaigns/{first}").text.count('<dd id="unsubscribed">1</dd>') == 1
