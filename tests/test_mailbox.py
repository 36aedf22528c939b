"""The mailbox: what it keeps and for how long, what is found in it, and what is checked in a message."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from email.message import EmailMessage
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, text

from mailer.errors import ConfigError, InvalidParams, NotFound
from mailer.mailbox import reading
from mailer.mailbox.arriving import kept_in_mailbox
from mailer.mailbox.checks import CLIPPED, checks_of
from mailer.mailbox.forgetting import forget
from mailer.mailbox.heads import head_of
from mailer.mailbox.links import LinkChecks
from mailer.mailbox.opened import framed_html, opened
from mailer.mailbox.packing import pack, unpack
from mailer.mailbox.search import Search, of_delivery, parse
from mailer.mailbox.sorting import sort_in, sort_in_all
from mailer.mailbox.store import MailboxStore
from mailer.mailbox.trimming import mailbox_trimming, trimming
from mailer.messages.links import NOBODY, PREVIEW, Links
from mailer.messages.template import delivery_id
from mailer.settings import Settings, mailbox
from mailer.settings.combinations import refuse_impossible
from mailer.storage.database import Database
from mailer.storage.models import MailboxArrival, MailboxContent, MailboxMessage
from mailer.storage.steps.small_steps import run_steps
from tests.databases import sqlite_work
from tests.harness import Harness
from transports.base import Message, Status
from transports.memory import MemoryTransport

SITE = "http://x"
LINKS = Links(["k" * 40], SITE)
READER = LinkChecks(LINKS, SITE)
EVERYBODY = None


def letter(number: int = 0, campaign_id: str = "c1", **fields: str) -> Message:
    """A message to one of many people, as another program might write it."""
    made = EmailMessage()
    whom = {"From": "News <news@example.com>", "To": f"Ann {number} <user{number:05d}@example.com>"}
    for name, value in {**whom, "Subject": f"Number {number}", **fields}.items():
        made[name] = value
    made.set_content(f"Dear Ann {number}, it begins.\n")
    content = made.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    message_id = delivery_id(campaign_id, f"user{number:05d}")
    return Message(message_id, "news@example.com", made["To"].addresses[0].addr_spec, content)


def fill(
    db: Database, messages: Sequence[Message], *, keep: int = 10_000, at_once: int = 10, at: int = 1_700_000_000_000
) -> None:
    """Have the messages arrive, some at a time, each time a millisecond later, from `at` on (ms since 1970)."""
    clock, times = db.clock, count(at)
    db.clock = lambda _connection: next(times)
    store = MailboxStore(db, keep)
    for begin in range(0, len(messages), at_once):
        store.add(messages[begin : begin + at_once])
    db.clock = clock


def recipients(found: Sequence[reading.Listed]) -> list[str]:
    return [one.recipient for one in found]


def everything(db: Database, **options: int) -> Sequence[reading.Listed]:
    return reading.page(db, EVERYBODY, Search(), options.get("count", 100_000))


@pytest.fixture
def delivered(db: Database, add_users: Callable[..., list[str]]) -> Harness:
    """A campaign of user00000 for 25 people, all of whose messages have arrived."""
    add_users(db, 25)
    transport = MemoryTransport()
    harness = Harness(db, kept_in_mailbox(db, transport, 10_000))
    harness.store = transport.store
    harness.accept()
    harness.run()
    return harness


# what is kept


def test_every_message_that_arrived_is_kept_byte_for_byte(delivered: Harness) -> None:
    db = delivered.db

    found = everything(db)

    assert recipients(found) == [*reversed(delivered.arrived())]
    assert len(found) == 25
    assert [reading.content(db, one) for one in reversed(found)] == [one.content for one in delivered.store.messages]
    newest = found[0]
    assert (newest.subject, newest.author, newest.addressee) == (
        "Hi Ann",
        "News <news@example.com>",
        "Ann 24 <user00024@example.com>",
    )
    assert newest.snippet.startswith("Hello Ann 24 http://x/mailer/unsubscribe/")
    assert (newest.campaign_id, newest.address) == (delivered.campaign_id, "user00024@example.com")
    assert newest.message_id == delivery_id(delivered.campaign_id, "user00024")
    assert not newest.read


def test_only_what_may_have_arrived_is_kept(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 4)
    transport = MemoryTransport()
    harness = Harness(db, kept_in_mailbox(db, transport, 100), uncertain="hold")
    for number, status in enumerate((Status.REFUSED, Status.DEFERRED, Status.UNCERTAIN)):
        transport.store.answer(f"user{number:05d}@example.com", status)
    harness.accept()
    harness.run()
    assert harness.counts() == {"sent": 1, "failed": 1, "deferred": 1, "uncertain": 1}

    assert recipients(everything(db)) == ["user00003@example.com", "user00002@example.com"]


def test_mailbox_that_fails_costs_nobody_a_message(
    sqlite_db: Database, add_users: Callable[..., list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    add_users(sqlite_db, 5)
    transport = MemoryTransport()
    harness = Harness(sqlite_db, kept_in_mailbox(sqlite_db, transport, 100))
    with sqlite_db.write() as connection:
        connection.execute(text("DROP TABLE mailbox_arrivals"))
    harness.accept()

    with caplog.at_level(logging.WARNING):
        harness.run()

    assert harness.counts() == {"sent": 5}
    assert "not in the mailbox" in caplog.text
    assert "user0000" not in caplog.text


def test_without_a_mailbox_there_is_nothing_around_the_transport(any_db: Database) -> None:
    transport = MemoryTransport()
    assert kept_in_mailbox(any_db, transport, 0) is transport


@pytest.mark.parametrize("sorted_first", [False, True], ids=["as they arrived", "looked at"])
def test_last_messages_are_kept(db: Database, sorted_first: bool) -> None:
    fill(db, [letter(number) for number in range(60)])
    if sorted_first:
        sort_in_all(db, EVERYBODY)

    run_steps(trimming(db, 20))

    assert recipients(everything(db)) == [f"user{number:05d}@example.com" for number in range(59, 39, -1)]
    with db.read() as connection:
        assert connection.scalar(select(func.count()).select_from(MailboxContent)) == 20


def test_last_messages_are_kept_whatever_somebody_has_looked_at(db: Database) -> None:
    """Who looks sorts in the newest arrivals: older ones, which are packed still, are no reason to delete those."""
    fill(db, [letter(number) for number in range(100)])
    everything(db, count=5)
    fill(db, [letter(number) for number in range(100, 110)], at=1_700_000_001_000)
    everything(db, count=15)
    run_steps(trimming(db, 100))
    assert recipients(everything(db)) == [f"user{number:05d}@example.com" for number in range(109, 9, -1)]


def test_whoever_brings_messages_trims_in_small_steps(db: Database) -> None:
    fill(db, [letter(number) for number in range(300)], keep=50)

    assert 50 <= reading.count(db, EVERYBODY) <= 60
    assert everything(db)[0].recipient == "user00299@example.com"


def test_large_messages_are_trimmed_by_their_bytes(db: Database) -> None:
    fill(db, [letter(number, Padding="x" * 900) for number in range(40)])
    size = reading.one(db, EVERYBODY, everything(db)[0].id).size

    run_steps(trimming(db, 1000, most_bytes=10 * size + 10))

    assert len(everything(db)) == 10


def test_task_empties_a_mailbox_that_was_turned_off(db: Database) -> None:
    fill(db, [letter(number) for number in range(30)])
    sort_in_all(db, EVERYBODY)
    fill(db, [letter(number) for number in range(30, 45)])

    mailbox_trimming(db, 0, 60_000).run_when_due(threading.Event())

    assert reading.count(db, EVERYBODY) == 0
    assert everything(db) == []


PACKABLE = st.builds(
    Message,
    st.from_regex(r"[a-z0-9]{1,9}\.[a-f0-9]{20}", fullmatch=True),
    st.just("n@example.com"),
    st.emails(),
    st.binary(max_size=300),
)


@given(st.lists(PACKABLE, max_size=9))
def test_what_is_packed_can_be_unpacked(messages: list[Message]) -> None:
    found = [(one.message_id, one.recipient, one.content) for one in unpack(pack(messages))]
    assert found == [(one.id, one.recipient, one.content) for one in messages]


@given(st.binary(max_size=400))
def test_any_bytes_have_a_head_and_can_be_opened(content: bytes) -> None:
    head = head_of(content, "ann@example.com")
    assert head.size == len(content)
    assert all(value.isprintable() or value == head.words for value in head if isinstance(value, str))
    framed_html(opened(content))


# looking


def test_page_continues_after_the_one_before(db: Database) -> None:
    fill(db, [letter(number) for number in range(47)])
    seen: list[str] = []
    before: int | None = None
    while found := reading.page(db, EVERYBODY, Search(), 10, before=before):
        seen += recipients(found)
        before = found[-1].id

    assert seen == [f"user{number:05d}@example.com" for number in range(46, -1, -1)]


def test_page_touches_no_more_than_it_shows(db: Database) -> None:
    fill(db, [letter(number) for number in range(100)])

    assert len(reading.page(db, EVERYBODY, Search(), 15)) == 15

    with db.read() as connection:
        assert connection.scalar(select(func.count()).select_from(MailboxArrival)) == 8
        assert connection.scalar(select(func.count()).select_from(MailboxMessage)) == 20
    assert reading.count(db, EVERYBODY) == 100


@pytest.mark.ci
def test_first_page_costs_the_same_however_much_there_is(sqlite_db: Database) -> None:
    newest = select(MailboxMessage.id).order_by(MailboxMessage.id.desc()).limit(50)
    mine = newest.where(MailboxMessage.caller_id == "")
    costs = []
    for number in (100, 4000):
        fill(sqlite_db, [letter(one) for one in range(number)], at_once=100)
        sort_in_all(sqlite_db, EVERYBODY)
        with sqlite_db.read() as connection:
            costs.append([sqlite_work(connection, query) for query in (newest, mine)])
    assert max(costs[1]) <= max(costs[0]) + 2


def test_messages_are_there_once_whoever_looks_at_the_same_time(db: Database) -> None:
    fill(db, [letter(number) for number in range(40)])
    with db.read() as connection:
        arrivals = connection.scalars(select(MailboxArrival.id)).all()
    together = threading.Barrier(4)

    def look() -> None:
        together.wait()
        for arrival in arrivals:
            sort_in(db, arrival)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(everything(db)) == 40


@pytest.mark.ci
def test_page_can_be_looked_at_while_messages_arrive(db: Database) -> None:
    over = threading.Event()
    store = MailboxStore(db, 500)

    def arrive() -> None:
        try:
            for begin in range(0, 2000, 50):
                store.add([letter(number) for number in range(begin, begin + 50)])
        finally:
            over.set()

    thread = threading.Thread(target=arrive)
    thread.start()
    looks = 0
    while not over.is_set():
        found = reading.page(db, EVERYBODY, Search(), 50)
        assert [one.id for one in found] == sorted({one.id for one in found}, reverse=True)
        looks += 1
    thread.join()

    assert looks > 1
    assert recipients(reading.page(db, EVERYBODY, Search(), 1)) == ["user01999@example.com"]
    assert reading.count(db, EVERYBODY) <= 600


def test_one_sees_the_messages_of_ones_own_campaigns(delivered: Harness) -> None:
    db = delivered.db
    assert len(reading.page(db, "user00000", Search(), 100)) == 25
    assert reading.page(db, "user00001", Search(), 100) == []
    assert reading.count(db, "user00001") == 0
    mine = reading.latest(db, "user00000")
    with pytest.raises(NotFound):
        reading.one(db, "user00001", mine.id)
    assert reading.remove(db, "user00001", Search()) == 0
    assert reading.count(db, "user00000") == 25


def test_delivery_leads_to_its_message(delivered: Harness) -> None:
    [found] = reading.page(delivered.db, EVERYBODY, of_delivery(delivered.campaign_id, "user00007"), 10)
    assert found.recipient == "user00007@example.com"
    assert len(reading.page(delivered.db, EVERYBODY, of_delivery(delivered.campaign_id), 100)) == 25
    assert reading.page(delivered.db, EVERYBODY, of_delivery("another", "user00007"), 10) == []


FOUND = {
    "spring": [0, 1],
    "SPRING sale": [0],
    '"spring sale"': [0],
    '"sale spring"': [],
    "subject:sommer": [2],
    "subject:Größe": [3],
    "grösse größe": [],
    "to:user00002": [2],
    "to:USER00002@EXAMPLE.COM": [2],
    "from:other": [1],
    "-from:other spring": [0],
    "!spring": [2, 3],
    "addressed:other": [1],
    "user00003@example.com": [3],
    "ann@home": [],
    "begins": [0, 1, 2, 3],
    "100%": [2],
    "1_0": [],
    f"message-id:{delivery_id('c1', 'user00001')}": [1],
    f"message-id:<{delivery_id('c1', 'user00001')}@example.com>": [1],
    "is:unread": [0, 1, 2, 3],
    "is:read": [],
    "-is:read": [0, 1, 2, 3],
    "is:tagged": [],
    "tag:x": [],
    "-cc:x": [0, 1, 2, 3],
    "reply-to:D_K@DESK": [1],
    "reply-to:other": [],
    "-reply-to:desk": [0, 2, 3],
    "addressed:desk": [1],
    "desk.example": [1],
    "has:inline": [],
    "has:attachment": [],
    "larger:1kb": [],
    "smaller:1k": [0, 1, 2, 3],
    "after:2023-11-14": [0, 1, 2, 3],
    "before:2023-11-14": [],
    "after:2023-11-15T00:00:00+01:00": [],
    "": [0, 1, 2, 3],
    "- spring": [0, 1],
    "http://x": [],
}


@pytest.fixture(scope="module")
def filled(module_database_url: str) -> Iterator[Database]:
    from mailer.selector import database_at

    db = database_at(module_database_url)
    changes = [
        {"Subject": "Spring sale"},
        {"Subject": "Spring", "From": "Other <other@example.com>", "Reply-To": "The Desk <d_k@desk.example>"},
        {"Subject": "Sommer 100%"},
        {"Subject": "Größe"},
    ]
    fill(db, [letter(number, **fields) for number, fields in enumerate(changes)])
    yield db
    db.close()


@pytest.mark.parametrize("asked", FOUND)
def test_messages_are_found_by_what_stands_in_them(filled: Database, asked: str) -> None:
    found = reading.page(filled, EVERYBODY, parse(asked), 10)
    assert sorted(int(one.recipient[4:9]) for one in found) == FOUND[asked]
    assert reading.count(filled, EVERYBODY, parse(asked)) == len(FOUND[asked])


@pytest.mark.parametrize("asked", ["after:yesterday", "before:", "larger:big", "x " * 30])
def test_what_cannot_be_looked_for_is_refused(asked: str) -> None:
    if asked == "before:":
        assert parse(asked).conditions  # a word like any other
        return
    with pytest.raises(InvalidParams) as refused:
        parse(asked)
    assert refused.value.details["field"] == "query"


def test_dates_are_in_the_time_zone_that_is_named(filled: Database) -> None:
    arrived = "2023-11-14T23:13:20"  # in Vienna; in UTC it was 22:13:20
    assert len(reading.page(filled, EVERYBODY, parse(f"before:{arrived}", "Europe/Vienna"), 10)) == 4
    assert len(reading.page(filled, EVERYBODY, parse(f"after:{arrived}", "UTC"), 10)) == 0
    with pytest.raises(InvalidParams):
        parse("x", "Nowhere/At-all")


def test_messages_can_be_marked_and_deleted(db: Database) -> None:
    fill(db, [letter(number) for number in range(30)])
    some = [one.id for one in everything(db)[:10]]

    reading.mark(db, EVERYBODY, reading.with_ids(some), read=True)

    assert reading.count(db, EVERYBODY, parse("is:unread")) == 20
    assert reading.remove(db, EVERYBODY, parse("is:read")) == 10
    assert recipients(everything(db))[0] == "user00019@example.com"
    assert reading.remove(db, EVERYBODY, Search()) == 20
    assert reading.count(db, EVERYBODY) == 0


def test_two_processes_that_choose_the_same_id_lose_no_message(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [5, 5, 7]
    monkeypatch.setattr("mailer.mailbox.store.secrets.randbits", lambda _bits: chosen.pop(0))
    db.clock = lambda _connection: 1_700_000_000_000
    MailboxStore(db, 100).add([letter(1)])
    MailboxStore(db, 100).add([letter(2)])
    assert chosen == []
    assert len(everything(db)) == 2


# forgetting


@pytest.mark.parametrize("sorted_first", [False, True], ids=["as they arrived", "looked at"])
def test_messages_of_a_person_are_forgotten_and_nobody_elses(db: Database, sorted_first: bool) -> None:
    redirected = letter(5, **{"X-Original-To": "Gone@Example.com", "To": "team@example.com"})
    fill(db, [letter(1), letter(2), letter(3), letter(4, "c2"), redirected])
    if sorted_first:
        sort_in_all(db, EVERYBODY)

    with db.write() as connection:
        gone = forget(connection, ["USER00001@example.com", "gone@example.com"], ["user00004"])

    assert gone == 3
    assert recipients(everything(db)) == ["user00003@example.com", "user00002@example.com"]
    with db.read() as connection:
        assert connection.scalar(select(func.count()).select_from(MailboxContent)) == 2
        assert connection.scalar(select(func.count()).select_from(MailboxArrival)) == 0


# a message taken apart


def mixed() -> bytes:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "n@example.com", "a@example.com", "Files"
    made.set_content("Text ü\n", charset="iso-8859-1")
    made.add_alternative('<p><img src="cid:dot"><img src=cid:other></p>', subtype="html")
    html = made.get_payload()[1]
    html.add_related(b"\x89PNG", "image", "png", cid="<dot>")
    html.add_related(b"<svg onload='x'/>", "image", "svg+xml", cid="<other>")
    made.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="../evil name .pdf")
    made.add_attachment("<script>alert(1)</script>", subtype="html", filename="page.html")
    return made.as_bytes()


def test_parts_are_told_apart() -> None:
    message = opened(mixed())

    assert message.text == "Text ü\n"
    assert [(part.content_type, part.inline) for part in message.parts] == [
        ("image/png", True),
        ("image/svg+xml", True),
        ("application/pdf", False),
        ("text/html", False),
    ]
    assert message.parts[0].octets == b"\x89PNG"
    assert message.part(message.parts[2].number) is message.parts[2]
    assert message.part("9.9") is None
    assert all("/" not in part.name and part.name.isprintable() for part in message.parts)
    assert "alert" not in message.html
    assert head_of(mixed().replace(b"\n", b"\r\n"), "a@example.com").attachments == 2


def test_frame_has_the_messages_own_pictures_and_no_documents() -> None:
    framed = framed_html(opened(mixed()))
    assert '<img src="data:image/png;base64,iVBORw==">' in framed
    assert "src=cid:other" in framed
    assert "svg" not in framed


@pytest.mark.parametrize(
    ("markup", "before"),
    [
        ("<p>x</p>", ""),
        ("<!doctype html><html><head><title>x</title></head>", "<!doctype html><html><head>"),
        ("<!-- a --> <HTML lang=de>\n<Head id='x'><p>", "<!-- a --> <HTML lang=de>\n<Head id='x'>"),
        ("text <head> more", ""),
    ],
)
def test_links_in_the_frame_open_outside_it(markup: str, before: str) -> None:
    made = EmailMessage()
    made.set_content(markup, subtype="html")
    assert framed_html(opened(made.as_bytes())).startswith(f'{before}<base target="_blank">')


# links and checks


def own(user_id: str) -> str:
    return LINKS.link(user_id)


def html_letter(markup: str, words: str = "", **fields: str) -> tuple[bytes, str]:
    """The bytes of a message to user00001, and its id."""
    made = EmailMessage()
    link = own("user00001")
    usual = {"From": "News <news@example.com>", "To": "a@example.com", "Subject": "Hello"}
    usual |= {"Date": "Tue, 14 Nov 2023 22:13:20 +0000", "Message-ID": "<a@example.com>"}
    usual |= {"List-Unsubscribe": f"<{link}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click", **fields}
    for name, value in usual.items():
        if value:
            made[name] = value
    made.set_content(words or f"Hello\n{link}\n", cte="8bit" if len(words) < 900 else "base64")
    if markup:
        made.add_alternative(markup, subtype="html", cte="8bit" if len(markup) < 900 else "base64")
    return made.as_bytes().replace(b"\n", b"\r\n"), delivery_id("c1", "user00001")


def verdicts(content: bytes, message_id: str) -> dict[str, str]:
    return {one.about: one.verdict.value for one in checks_of(content, opened(content), message_id, READER)}


GOOD = f'<p>Hello <img src="https://x/y.png" alt="Y"> <a href="{own("user00001")}">Unsubscribe</a></p>'


def test_links_are_known_for_what_they_are() -> None:
    forged = own("user00001")[:-2] + "AA"
    markup = "".join(
        f'<a href="{url}">{label}</a>'
        for url, label in [
            (own("user00001"), "mine"),
            (own("user00002"), "theirs"),
            (own(PREVIEW), "preview"),
            (own(NOBODY), "nobody"),
            (forged, "forged"),
            ("https://example.com/", "shop"),
            ("javascript:alert(1)", "run"),
        ]
    )
    content, message_id = html_letter(markup + f'<a href="{own("user00003")}" style="display:none">x</a>')

    found = READER.links_of(opened(content), message_id)

    assert [(link.label, link.own) for link in found] == [
        ("mine", "valid"),
        ("theirs", "foreign"),
        ("preview", "preview"),
        ("nobody", "valid"),
        ("forged", "forged"),
        ("shop", ""),
        ("", "foreign"),
    ]
    assert [link.visible for link in found] == [True] * 6 + [False]


def test_links_of_a_text_are_found_too() -> None:
    content, message_id = html_letter("", f"See https://example.com/a, or {own('user00001')}.")
    found = READER.links_of(opened(content), message_id)
    assert [(link.url, link.own) for link in found] == [("https://example.com/a", ""), (own("user00001"), "valid")]


def test_good_message_passes_every_check_but_https() -> None:
    assert verdicts(*html_letter(GOOD)) == {
        "unsubscribe-link": "ok",
        "list-unsubscribe": "ok",
        "https": "note",  # this service's own address is http
        "text-part": "ok",
        "size": "ok",
        "alt-texts": "ok",
        "sender": "ok",
        "subject": "ok",
        "form": "ok",
    }


WRONG = {
    "no link": ("unsubscribe-link", "bad", "<p>Hello</p>", {}),
    "hidden link": ("unsubscribe-link", "bad", f'<p style="display:none"><a href="{own("user00001")}">x</a></p>', {}),
    "forged link": ("unsubscribe-link", "bad", f'<a href="{own("user00001")}x">x</a>', {}),
    "link of somebody else": ("unsubscribe-link", "bad", f'<a href="{own("user00002")}">x</a>', {}),
    "no field": ("list-unsubscribe", "bad", GOOD, {"List-Unsubscribe": ""}),
    "field of somebody else": ("list-unsubscribe", "bad", GOOD, {"List-Unsubscribe": f"<{own('user00002')}>"}),
    "no one-click": ("list-unsubscribe", "note", GOOD, {"List-Unsubscribe-Post": ""}),
    "too large": ("size", "bad", GOOD + "x" * CLIPPED, {}),
    "picture without alt": ("alt-texts", "note", GOOD + "<img src='https://x/z.png'>", {}),
    "two senders": ("sender", "bad", GOOD, {"From": "a@example.com, b@example.com"}),
    "no sender": ("sender", "bad", GOOD, {"From": ""}),
    "nobody reads": ("sender", "note", GOOD, {"From": "No-Reply@example.com"}),
    "wrong answers": ("sender", "bad", GOOD, {"Reply-To": "nobody@-"}),
    "no subject": ("subject", "bad", GOOD, {"Subject": ""}),
    "long subject": ("subject", "note", GOOD, {"Subject": "word " * 20}),
    "no date": ("form", "bad", GOOD, {"Date": ""}),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told(name: str) -> None:
    about, verdict, markup, fields = WRONG[name]
    content, message_id = html_letter(markup, **fields)
    assert verdicts(content, message_id)[about] == verdict
    assert all(one.text for one in checks_of(content, opened(content), message_id, READER))


@pytest.mark.parametrize(("words", "verdict"), [(" ", "bad"), ("Hello", "note")])
def test_text_part_is_looked_at(words: str, verdict: str) -> None:
    assert verdicts(*html_letter(GOOD, words))["text-part"] == verdict


def test_messages_of_this_service_pass(delivered: Harness) -> None:
    newest = everything(delivered.db)[0]
    content = reading.content(delivered.db, newest)
    found = verdicts(content, newest.message_id)
    assert {about for about, verdict in found.items() if verdict != "ok"} == {"https", "list-unsubscribe"}
    assert "bad" not in found.values()


# the setting


@pytest.mark.parametrize(
    ("value", "transport", "kept"),
    [
        ("auto", "console:", 10_000),
        ("AUTO", "file:./outbox?format=mbox", 10_000),
        ("true", "memory:", 10_000),
        ("500", "failover:(memory: file:./x)", 500),
        ("0", "console:", 0),
        ("false", "console:", 0),
        ("auto", "smtp://relay", 0),
        ("auto", "failover:(smtp://a file:./x)", 0),
        ("auto", "webhook://x", 0),
        ("auto", "nonsense", 0),
    ],
)
def test_setting_says_how_many_are_kept(value: str, transport: str, kept: int) -> None:
    assert mailbox.kept(mailbox.parse(value), transport) == kept


@pytest.mark.parametrize("value", ["", "yes", "-1", "1e3", "100001", "٣"])
def test_other_values_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="Neither auto"):
        mailbox.parse(value)


@pytest.mark.parametrize("transport", ["smtp://127.0.0.1:25", "failover:(memory: smtp://127.0.0.1)", "webhook+https:x"])
def test_mail_that_leaves_is_kept_nowhere(transport: str) -> None:
    with pytest.raises(ConfigError, match="MAILER_MAILBOX"):
        refuse_impossible(Settings(secret_key=("k" * 40,), transport=transport, mailbox=100))
