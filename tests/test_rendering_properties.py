from __future__ import annotations

import email
import email.policy
import quopri
import re
from dataclasses import replace
from email.headerregistry import AddressHeader
from email.message import EmailMessage
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.messages.addresses import Mailbox, envelope_address, shown_name
from mailer.messages.headers import phrase_header, quoted_printable, soft_wrapped, text_header
from mailer.messages.html_part.markup import is_html
from mailer.messages.layout import TemplateSource
from mailer.messages.recipient import Recipient
from mailer.messages.template import compile_message
from mailer.text import is_one_line
from tests.drills import rounds
from transports.base import Message
from transports.smtp.transactions import Extensions, TransactionBuilder

HEADERS = [
    "From", "To", "Subject", "Date", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Id",
    "Feedback-ID", "Auto-Submitted", "Precedence", "MIME-Version", "Content-Type",
]  # fmt: skip
LINK = "https://mail.example.org/mailer/unsubscribe/" + "t0k-en_." * 12
NOW = 1_700_000_000_000

placeholders = st.sampled_from(
    ["[unsubscribe]", "[name]", "[fname]", "[lname]", "[email]", "[Site_Name]", "[Site_URL]", "[other]"]
)
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
clean = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])
awkward = st.sampled_from(
    (
        *("=?utf-8?q?x?=", "=?", "?=", '"', "\\", ",", "<a@b.org>", ";", "(", ")", ":", "  ", " ", "=", "=3D"),
        *(".", ".x", "." * 80),
        *(
            "a@b.org, c@d.org",
            "Ann",
            "Müller",
            "名前",
            "👩\u200d🚀",
            "-- ",
            "From ",
            "x" * 80,
            "ü" * 80,
            "&amp;",
            "<b>",
        ),
    )
)
line_text = st.lists(st.text(clean, max_size=12) | awkward | placeholders, max_size=12).map("".join)
names = st.lists(st.text(clean, max_size=12) | awkward | placeholders, max_size=6).map("".join) | st.text(
    clean, max_size=2000
)
fragments = st.sampled_from(
    (
        *(
            "\r\n",
            "\n",
            "\r",
            " \n",
            "\n.\n",
            "\t",
            "\x0b",
            "\x85",
            "\u2028",
            "x" * 75,
            "y" * 76,
            "\n--=_alternative--\n",
        ),
        *(
            "<p>",
            "</p>",
            "<br>",
            "<a href='",
            "'>",
            "</a>",
            "<!--",
            "-->",
            "<td>",
            "<?xml encoding='ascii'?>",
            "&#xF0000;",
        ),
    )
)
bodies = st.lists(st.text(characters, max_size=30) | awkward | placeholders | fragments, max_size=25).map("".join)
locals_ = st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,30}", fullmatch=True) | st.text(
    clean, min_size=1, max_size=9
)
domains = st.sampled_from(["example.org", "localhost", "münchen.example", "a" * 63 + "." + "b" * 60 + ".test"])
addresses = st.builds(lambda local, domain: envelope_address(f"{local}@{domain}"), locals_, domains).filter(bool)


def headers_of(raw: bytes) -> list[str]:
    """What an independent reader of RFC 5322 sees: field names before the first empty line."""
    head = raw.partition(b"\r\n\r\n")[0].decode()
    return [line.partition(":")[0] for line in head.split("\r\n") if not line.startswith((" ", "\t"))]


def unfolded(raw: bytes, name: str) -> str:
    head = raw.partition(b"\r\n\r\n")[0].decode() + "\r\n"
    match = re.search(rf"(?:\A|\r\n){name}:(.*(?:\r\n[ \t].*)*)\r\n", head)
    assert match is not None
    return match[1].replace("\r\n", "")


def decoded(value: str) -> str:
    """RFC 2047, independent of the standard library: white space between two encoded words is not shown."""
    shown, rest, after_word = "", value.removeprefix(" "), False
    while found := re.search(r"=\?utf-8\?([bq])\?([!-<>@-~=]*)\?=(?= |$)", rest):
        assert len(found[0]) <= 75
        before = rest[: found.start()]
        shown += before if before.strip() or not after_word else ""
        octets = email.base64mime.decode(found[2]) if found[1] == "b" else quopri.decodestring(found[2], header=True)
        shown, rest, after_word = shown + octets.decode(), rest[found.end() :], True
    return shown + rest


def mailbox(value: str) -> tuple[str, str]:
    """RFC 5322 section 3.4, as far as it is used: an address, or a phrase and an address in brackets."""
    if not value.endswith(">"):
        return "", value.removeprefix(" ")
    phrase, _, address = value.removesuffix(">").rpartition(" <")
    quoted = re.fullmatch(r' "((?:[^"\\]|\\["\\])*)"', phrase)
    if quoted is not None:
        assert "=?" not in quoted[1]
        return re.sub(r"\\(.)", r"\1", quoted[1]), address
    assert re.fullmatch(
        r"(?: (?:[^\s()<>\[\]:;@\\,.\"=?]+|[A-Za-z0-9!#$%&'*+/^_`{|}~-]+|=\?utf-8\?[bq]\?\S+\?=))+", phrase
    )
    return decoded(phrase), address


def parsed(raw: bytes) -> EmailMessage:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def defects(message: EmailMessage) -> list[Exception]:
    found: list[Exception] = []
    for part in message.walk():
        found += part.defects
        for value in part.values():
            found += getattr(value, "defects", [])
    return found


def substituted(template: str, values: dict[str, str]) -> str:
    return re.sub(r"\[(\w+)\]", lambda match: values.get(match[1], match[0]), template)


class Skeleton(HTMLParser):
    """The elements of a document and their attributes' names: what no value may change."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=False)
        self.found: list[object] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, [name for name, _ in attrs]))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(tag)

    def handle_comment(self, data: str) -> None:
        self.found.append("comment")


def canonical(text: str) -> str:
    return re.sub(r"\r\n|\r|\n", "\r\n", text)


def check_wire(raw: bytes) -> None:
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert b"\r" not in raw.replace(b"\r\n", b"")
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert headers_of(raw) == HEADERS
    assert all(len(line) <= 76 for line in raw.partition(b"\r\n\r\n")[2].split(b"\r\n"))
    assert raw.partition(b"\r\n\r\n")[2].isascii()
    assert b"\r\n." not in raw


FRAMERS = [
    TransactionBuilder(Extensions()),
    TransactionBuilder(Extensions(size_known=True, size=3000, dsn=True, utf8=True), notify="FAILURE"),
    TransactionBuilder(Extensions(chunking=True, eight_bit=True), chunked=True),
]


def check_vouched(message: Message) -> None:
    """What the renderer vouches for is what a framer would find out that searched the message."""
    assert message.vouched == message.content.isascii()
    searched = replace(message)
    assert not searched.vouched
    assert [framer.build(message) for framer in FRAMERS] == [framer.build(searched) for framer in FRAMERS]


@pytest.mark.drill
@settings(max_examples=rounds(50, 1500), deadline=None)
@given(names, addresses, names, addresses, line_text, bodies, line_text)
def test_render_of_anything_is_one_sound_message_to_one_recipient(
    name: str, address: str, sender_name: str, sender_address: str, subject: str, body: str, site_name: str
) -> None:
    site_url = "https://mail.example.org"
    source = TemplateSource("c0ffee", Mailbox(sender_name, sender_address), subject, body + "<p>", site_name, site_url)
    recipient = Recipient("u1", name, address)
    values = {
        "unsubscribe": LINK,
        "name": shown_name(name),
        "fname": shown_name(name).partition(" ")[0],
        "lname": shown_name(name).rpartition(" ")[2],
        "email": address,
        "Site_Name": site_name,
        "Site_URL": site_url,
    }

    message = compile_message(source).render(recipient, LINK, NOW)

    check_wire(message.content)
    check_vouched(message)
    read = parsed(message.content)
    if message.content.isascii():
        assert defects(read) == []
        to = read["To"]
        assert isinstance(to, AddressHeader)
        assert [one.addr_spec for one in to.addresses] == [address]
    assert mailbox(unfolded(message.content, "To")) == (shown_name(name), address)
    assert mailbox(unfolded(message.content, "From")) == (sender_name, sender_address)
    assert decoded(unfolded(message.content, "Subject")) == substituted(subject, values).strip(" ")
    markup = read.get_body(("html",))
    assert markup is not None
    template = compile_message(source)
    assert markup.get_payload(decode=True).decode() == canonical(template.preview(recipient, LINK).html)
    neutral = template.preview(Recipient("u", "Ann Lee", "ann@example.org"), LINK)
    assert Skeleton(markup.get_content()).found == Skeleton(neutral.html).found
    assert read.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in read.iter_parts()] == ["text/plain", "text/html"]


@pytest.mark.drill
@settings(max_examples=rounds(40, 1000), deadline=None)
@given(names, addresses, bodies)
def test_text_part_of_anything_is_the_template_s_text_with_the_values(name: str, address: str, body: str) -> None:
    source = TemplateSource(
        "c0ffee", Mailbox("", "news@example.org"), "Hello", body, "Site", "https://mail.example.org"
    )
    template = compile_message(source)
    neutral = template.preview(Recipient("u", "«name» «lname»", "address@example.org"), LINK).text
    message = template.render(Recipient("u1", name, address), LINK, NOW)
    part = parsed(message.content).get_body(("plain",))

    assert part is not None
    text = part.get_payload(decode=True).decode()
    preview = template.preview(Recipient("u1", name, address), LINK)
    assert text == canonical(preview.text)
    assert text.count(LINK) >= neutral.count(LINK)
    if "[unsubscribe]" in body:
        assert LINK in text


ampersands = st.sampled_from(("&", "&copy=2 ", "&region=eu ", "&amp ", "&lt ", "&nbsp= ", "http://x/?a&b ", "<b", "\t"))
plain = st.lists(st.text(clean, max_size=12) | awkward | placeholders | ampersands, max_size=12).map("".join)


@pytest.mark.drill
@settings(max_examples=rounds(50, 1500), deadline=None)
@given(addresses, plain.filter(lambda body: not is_html(body) and not re.search(r"&#?\w+;", body)))
def test_text_part_of_a_plain_text_body_is_the_naive_substitution(address: str, body: str) -> None:
    source = TemplateSource(
        "c0ffee", Mailbox("", "news@example.org"), "Hello", body, "Site", "https://mail.example.org"
    )
    values = {"unsubscribe": LINK, "name": "Ann Lee", "fname": "Ann", "lname": "Lee", "email": address}
    values |= {"Site_Name": source.site_name, "Site_URL": source.site_url}

    text = compile_message(source).preview(Recipient("u1", "Ann Lee", address), LINK).text

    assert text == substituted(body, values)


@pytest.mark.drill
@settings(max_examples=rounds(50, 1500), deadline=None)
@given(st.text(st.characters(codec=None), max_size=20), st.text(st.characters(codec=None), max_size=20))
def test_render_of_a_hostile_directory_is_refused_or_sound(name: str, address: str) -> None:
    source = TemplateSource(
        "c0ffee", Mailbox("", "news@example.org"), "[name] [email]", "[unsubscribe]", "S", "https://x.org"
    )
    template = compile_message(source)

    try:
        message = template.render(Recipient("u1", name, address), LINK, NOW)
    except ValueError:
        return

    assert is_one_line(address)
    assert mailbox(unfolded(message.content, "To"))[0] == shown_name(name)
    check_wire(message.content)
    check_vouched(message)


@pytest.mark.drill
@settings(max_examples=rounds(50, 1500), deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"])), st.integers(0, 400))
def test_headers_of_all_of_unicode_come_back_exactly(text: str, length: int) -> None:
    for value in (text, text * (length // (len(text) + 1)), f"word {text} word", f"{text} " * 3):
        subject, to = text_header("Subject", value), phrase_header("To", value, "ann@example.org")

        assert all(len(line) <= 76 for line in subject.split("\r\n"))
        assert decoded(subject.replace("\r\n", "").removeprefix("Subject:")) == value
        if value:
            assert mailbox(to.replace("\r\n", "").removeprefix("To:")) == (value, "ann@example.org")
        assert not re.search(r"\r\n(?! +\S)", to + subject)


dotted = st.lists(st.sampled_from((".", "..", "x", "=", "ü", " ", "." * 74, "x" * 74, "\r\n", ".\r\n")), max_size=20)


@pytest.mark.drill
@settings(max_examples=rounds(200, 5000), deadline=None)
@given(dotted.map("".join))
def test_no_line_of_a_body_begins_with_a_dot_however_it_is_broken(text: str) -> None:
    value = re.sub(r"[^.x]", "", text)
    for encoded, meant in ((quoted_printable(text), text), (soft_wrapped(value), value)):
        lines = encoded.split("\r\n")
        assert not [line for line in lines if line.startswith(".") or len(line) > 76]
        assert len(lines[-1]) < 76
        assert quopri.decodestring(encoded).decode() == meant
