from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transports.base import About, Message, Outcome, Status, vouched_message
from transports.smtp.transactions import Extensions, Transaction, TransactionBuilder

EVERYTHING = Extensions.from_ehlo(
    {"pipelining": "", "chunking": "", "8bitmime": "", "smtputf8": "", "dsn": "", "size": "5000"}
)


def message(
    content: bytes = b"Subject: x\r\n\r\nHi\r\n", recipient: str = "r@example.org", sender: str = "s@example.org"
):
    return Message("c-1", sender, recipient, content)


def test_commands_use_what_is_offered() -> None:
    transaction = TransactionBuilder(EVERYTHING, notify="FAILURE").build(
        message("a: ü\r\n\r\n".encode(), "jürgen@example.org")
    )

    assert isinstance(transaction, Transaction)
    assert transaction.mail == b"MAIL FROM:<s@example.org> SIZE=9 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=c-1\r\n"
    assert transaction.rcpt == "RCPT TO:<jürgen@example.org> NOTIFY=FAILURE\r\n".encode()


@pytest.mark.parametrize(
    ("content", "options"),
    [
        pytest.param("Reply-To: ü@example.org\r\n\r\nHi\r\n", " BODY=8BITMIME SMTPUTF8", id="header"),
        pytest.param("Subject: x\r\n\r\nHü\r\n", " BODY=8BITMIME", id="body"),
    ],
)
def test_smtputf8_is_asked_for_where_a_header_needs_it(content: str, options: str) -> None:
    transaction = TransactionBuilder(EVERYTHING).build(message(content.encode()))

    assert isinstance(transaction, Transaction)
    assert transaction.mail == f"MAIL FROM:<s@example.org> SIZE={len(content.encode())}{options}\r\n".encode()


def test_commands_are_bare_where_nothing_is_offered() -> None:
    transaction = TransactionBuilder(Extensions(), notify="FAILURE").build(message())

    assert transaction == Transaction(
        "c-1",
        b"MAIL FROM:<s@example.org>\r\n",
        b"RCPT TO:<r@example.org>\r\n",
        b"Subject: x\r\n\r\nHi\r\n.\r\n",
    )


def test_chunk_is_the_content_as_it_stands() -> None:
    transaction = TransactionBuilder(EVERYTHING, chunked=True).build(message(b".\r\n..\r\n"))

    assert isinstance(transaction, Transaction)
    assert transaction.data == b"BDAT 7 LAST\r\n.\r\n..\r\n"


@pytest.mark.parametrize(
    ("extensions", "given", "problem"),
    [
        pytest.param(EVERYTHING, message(b"a\nb\r\n"), "not CRLF", id="bare LF"),
        pytest.param(EVERYTHING, message(b"a\rb\r\n"), "not CRLF", id="bare CR"),
        pytest.param(EVERYTHING, message(b"a\r\n.\n.\r\n"), "not CRLF", id="smuggling"),
        pytest.param(EVERYTHING, message(b"a\r\r\n"), "not CRLF", id="CR CRLF"),
        pytest.param(EVERYTHING, message(b"a\r\nb\r"), "not CRLF", id="CR at the end"),
        pytest.param(EVERYTHING, message(b"a\r\nb\n"), "not CRLF", id="LF at the end"),
        pytest.param(EVERYTHING, message(b"x" * 5001), "more than the server takes", id="too big"),
        pytest.param(Extensions(), message("ü\r\n".encode()), "8BITMIME", id="8 bit"),
        pytest.param(Extensions(eight_bit=True), message("a: ü\r\n\r\n".encode()), "header outside ASCII", id="header"),
        pytest.param(Extensions(), message(recipient="ü@example.org"), "SMTPUTF8", id="international recipient"),
        pytest.param(Extensions(), message(sender="ü@example.org"), "SMTPUTF8", id="international sender"),
        pytest.param(Extensions(), message(recipient="ü@b.c", sender="ü@b.c"), "SMTPUTF8", id="international both"),
        pytest.param(EVERYTHING, message(recipient="a@b>\r\nRCPT TO:<c@d"), "recipient's address", id="injection"),
        pytest.param(EVERYTHING, message(recipient="a@b> SIZE=1"), "recipient's address", id="parameter"),
        pytest.param(EVERYTHING, message(recipient="a b@c"), "recipient's address", id="space"),
        pytest.param(EVERYTHING, message(recipient="nobody"), "recipient's address", id="no domain"),
        pytest.param(EVERYTHING, message(recipient=""), "recipient's address", id="empty"),
        pytest.param(EVERYTHING, message(recipient="a\ud800@b"), "recipient's address", id="surrogate"),
        pytest.param(EVERYTHING, message(recipient="a@b\x85c"), "recipient's address", id="next line"),
        pytest.param(EVERYTHING, message(sender="a@b\r\nDATA"), "sender's address", id="sender"),
    ],
)
def test_refused_without_sending(extensions: Extensions, given: Message, problem: str) -> None:
    outcome = TransactionBuilder(extensions).build(given)

    assert isinstance(outcome, Outcome)
    assert (outcome.id, outcome.status) == ("c-1", Status.REFUSED)
    assert problem in outcome.reply
    assert outcome.about is (About.SENDER if "sender" in outcome.reply else About.MESSAGE)
    assert ("sender" in outcome.reply) == (given.sender != "s@example.org")


@pytest.mark.parametrize("address", ['"a b"@c.org', '"a>b\\""@c.org', "a+b@[127.0.0.1]", "o'x@c.org", "世界@例.test"])
def test_unusual_addresses_are_written(address: str) -> None:
    transaction = TransactionBuilder(EVERYTHING).build(message(recipient=address))

    assert isinstance(transaction, Transaction)
    assert transaction.rcpt == f"RCPT TO:<{address}>\r\n".encode()


def test_empty_sender_is_the_null_path() -> None:
    transaction = TransactionBuilder(Extensions()).build(message(sender=""))

    assert isinstance(transaction, Transaction)
    assert transaction.mail == b"MAIL FROM:<>\r\n"


@given(
    st.lists(st.sampled_from([b".", b"a", b"\r", b"\n", b"\r\n", b"\x0b", b"\x0c", b"\x1c"]), max_size=12).map(b"".join)
)
@example(b"")
@example(b"x")
@example(b"\r\n\n")
def test_body_is_the_content_and_ends_once(content: bytes) -> None:
    clean = b"\r" not in content.replace(b"\r\n", b"") and b"\n" not in content.replace(b"\r\n", b"")

    transaction = TransactionBuilder(EVERYTHING).build(message(content))

    assert isinstance(transaction, Transaction) == clean
    if isinstance(transaction, Transaction):
        lines = transaction.data.split(b"\r\n")
        assert [lines[-2], lines[-1]] == [b".", b""]
        assert b"." not in lines[:-2]
        received = b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:-2])
        assert received in {content, content + b"\r\n"}


def test_vouched_message_is_not_searched_and_still_measured() -> None:
    vouched = vouched_message("c-1", "s@example.org", "r@example.org", b"Subject: x\r\n\r\nHi\r\n")

    assert TransactionBuilder(EVERYTHING).build(vouched) == TransactionBuilder(EVERYTHING).build(message())
    refused = TransactionBuilder(Extensions(size_known=True, size=5)).build(vouched)
    assert isinstance(refused, Outcome)
    assert "more than the server takes" in refused.reply


@pytest.mark.parametrize("content", [b"a\n.\r\n", b".\r\n", "\u00fc\r\n".encode(), b"no end"])
def test_nobody_vouches_for_what_another_put_into_a_copy(content: bytes) -> None:
    vouched = vouched_message("c-1", "s@example.org", "r@example.org", b"Subject: x\r\n\r\nHi\r\n")

    changed = replace(vouched, content=content)

    assert not changed.vouched
    assert TransactionBuilder(EVERYTHING).build(changed) == TransactionBuilder(EVERYTHING).build(message(content))
    assert changed == message(content)
