"""The way of usual recipients through the renderer gives what the way of all others gives, to the octet."""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from itsdangerous import Signer
from itsdangerous.encoding import base64_encode

from mailer.messages import template as template_module
from mailer.messages.addresses import Mailbox
from mailer.messages.layout import TemplateSource
from mailer.messages.links import Links
from mailer.messages.recipient import Recipient
from mailer.messages.return_addresses import CampaignAddresses, addresses_of
from mailer.messages.template import Template, compile_message
from mailer.settings import Settings
from mailer.settings.return_address import ReturnAddress
from tests.drills import rounds
from transports.base import Message

NOW = 1_700_000_000_000
LINK = "https://mail.example.org/mailer/unsubscribe/dXNlcg." + "s" * 43
NEVER = re.compile("(?!)")
Rendered = tuple[object, ...]

near_plain = st.text(st.sampled_from("abz09 .-_~!#$%&'*+/=?^`{|}\"<>()[]:;,\\@ü\n"), max_size=90)
words = st.from_regex(r"[A-Za-z0-9!#$%*+/^_`{|}~-]{1,12}( [A-Za-z0-9-]{1,20}){0,3}", fullmatch=True)
names = words | words.map(lambda name: name.ljust(40, "n")) | near_plain
local_parts = st.from_regex(r"[A-Za-z0-9!#$%*+/^_`{|}~.-]{1,30}", fullmatch=True) | near_plain
addresses = st.tuples(
    local_parts, st.sampled_from(["example.org", "a.test", "localhost", "x..y", "d" * 40 + ".org", "ü.org"])
).map("@".join)
links = st.just(LINK) | st.builds(
    lambda tail: f"http://x/{tail}",
    st.text(st.sampled_from("aZ0.-_~%?"), max_size=950)
    | st.integers(0, 200).map(lambda size: "y" * size + ".x")
    | near_plain,
)
gaps = st.sampled_from(["[name]", "[fname]", "[lname]", "[email]", "[unsubscribe]", "[Site_Name]"])
subjects = st.lists(
    st.sampled_from(["Hello", " ", ", ", "=", "?", "=?", "?=", "ü", "word " * 12]) | gaps, max_size=7
).map("".join)
bodies = st.lists(
    st.sampled_from(["<p>", ".", "x" * 74, "\n", " ", "ü"])
    | st.sampled_from(['<a href="https://x.org/?e=[email]&n=[fname]">x</a>', '<a href="mailto:[email]">x</a>'])
    | gaps,
    max_size=9,
).map("".join)
sources = st.builds(
    lambda sender, subject, body: TemplateSource("c0ffee", sender, subject, body, "Site", "https://mail.example.org"),
    st.sampled_from([Mailbox("News", "news@example.org"), Mailbox("", "nü@example.org")]),
    subjects,
    bodies,
)


RETURNS = [
    addresses_of(Settings(secret_key=("k" * 40,), bounce_address=bounce, unsubscribe_address=by_mail), "0" * 23, **real)
    for bounce in (None, ReturnAddress.parse("bounce+{token}@example.com"))
    for by_mail in (None, ReturnAddress.parse("leave-{token}.mail@" + "d" * 60 + ".example.com"))
    for real in ({"dry_run": False, "sends": True}, {"dry_run": True, "sends": True})
]


def without_tokens(made: Rendered, sender: str) -> Rendered:
    """The same as if there were no addresses with tokens."""
    if not isinstance(made[0], Message):
        return made
    content = re.sub(rb">,\r\n <mailto:leave-[a-z2-7]{48}\.mail@[^>]*>", b">", made[0].content, count=1)
    return replace(made[0], sender=sender, content=content), made[1]


def rendered(template: Template, recipient: Recipient, link: str) -> Rendered:
    try:
        message = template.render(recipient, link, NOW)
    except ValueError as error:
        return type(error), str(error)
    return message, message.vouched


def rendered_with_care(template: Template, recipient: Recipient, link: str) -> Rendered:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mailer.messages.template._USUAL", NEVER)
        return rendered(template, recipient, link)


@pytest.mark.drill
@settings(max_examples=rounds(400, 10_000), deadline=None)
@given(sources, names, addresses, links, st.text(max_size=20), st.sampled_from(RETURNS))
def test_usual_recipients_get_what_they_would_get_with_care(
    source: TemplateSource, name: str, address: str, link: str, user_id: str, returns: CampaignAddresses
) -> None:
    template, recipient = compile_message(source, returns), Recipient(user_id, name, address)

    given_message = rendered(template, recipient, link)

    assert given_message == rendered_with_care(template, recipient, link)
    usual = template_module._USUAL.fullmatch(f"{name} <{address}> {link}") and len(name + address) < 70
    event("refused" if isinstance(given_message[0], type) else "usual" if usual else "made with care")
    plain = rendered(compile_message(source), recipient, link)
    assert without_tokens(given_message, source.sender.address) == plain
    if isinstance(given_message[0], Message):
        assert max(map(len, given_message[0].content.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(
    ("name", "address", "link"),
    [
        pytest.param("Ann", ".x@example.org", LINK, id="a dot begins the address, and so a line"),
        pytest.param("Ann & Bea", "a@example.org", LINK, id="HTML in a name"),
        pytest.param("Ann O'Lee", "a@example.org", LINK, id="an apostrophe"),
        pytest.param("Ann=41", "a@example.org", LINK, id="quoted-printable in a name"),
        pytest.param("Ann  Lee", "a@example.org", LINK, id="two blanks"),
        pytest.param("", "a@example.org", LINK, id="no name"),
        pytest.param("Ann", "a&b=c@example.org", LINK, id="HTML in an address"),
        pytest.param("n" * 56, "a@example.org", LINK, id="just fits"),
        pytest.param("n" * 57, "a@example.org", LINK, id="just too long"),
        pytest.param("A", "a" * 65 + "@y", LINK, id="a local part too long"),
        pytest.param("Ann", "a@example.org", "http:" + "y" * 940, id="the longest link"),
        pytest.param("Ann", "a@example.org", "http:" + "y" * 941, id="a link too long"),
        pytest.param("Ann", "a@example.org", "http://x/?a=1&b=2", id="HTML in a link"),
        pytest.param("Ann", "a@example.org", "http:" + "y" * 70 + ".x", id="a dot begins the link's second line"),
        pytest.param("Ann", "a@example.org", "http:" + "y" * 145 + ".x", id="a dot begins its third line"),
    ],
)
def test_nearly_usual_recipients_get_what_they_would_get_with_care(name: str, address: str, link: str) -> None:
    body = '[name] [email] [unsubscribe]<a href="https://x.org/?n=[name]&e=[email]">'
    template = compile_message(TemplateSource("c", Mailbox("", "n@x.org"), "Hi [name]", body, "S", "http://x"))
    recipient = Recipient("u", name, address)

    assert rendered(template, recipient, link) == rendered_with_care(template, recipient, link)


@pytest.mark.parametrize("name", ["Ann", "Ann Lee", "x" * 58, "$%"])
def test_usual_recipient_needs_no_care(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = TemplateSource("c", Mailbox("", "n@x.org"), "Hi [fname]", "[name] [email] [unsubscribe]", "S", "http://x")
    monkeypatch.delattr(Template, "_render_any")

    message = compile_message(source).render(Recipient("u", name, "a.b@x.org"), LINK, NOW)

    assert f"\r\nTo: {name} <a.b@x.org>\r\n".encode() in message.content
    assert message.vouched


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=80))
def test_link_is_what_itsdangerous_signs(user_id: str, key: str) -> None:
    links = Links([key, "other"], "https://mail.example.org")
    signer = Signer(key, salt=b"mailer.unsubscribe", key_derivation="hmac", digest_method=sha256)

    token = links.link(user_id).removeprefix("https://mail.example.org/mailer/unsubscribe/")

    assert token.encode() == signer.sign(base64_encode(user_id))
    assert links.read(token) == user_id
