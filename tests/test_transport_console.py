from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from email.message import EmailMessage
from pathlib import Path

import pytest

from transports import Message, TransportConfigError, TransportUnavailable, from_url
from transports.console import as_block, as_line, write_stdout

ROOT = Path(__file__).parent.parent


def letter(subject: str = "Grüße, Ann", text: str = "Hallo Ann\n\nTschüs\n", **headers: str) -> Message:
    email = EmailMessage()
    email["Subject"] = subject
    for name, value in headers.items():
        email[name.replace("_", "-")] = value
    email.set_content(text)
    email.add_alternative("<p>HTML only</p>", subtype="html")
    content = email.as_bytes(policy=email.policy.clone(linesep="\r\n"))
    return Message("c1-u1", "list@example.org", "ann@example.org", content)


def plain(text: bytes, head: bytes = b"Subject: s") -> Message:
    return Message("m1", "list@example.org", "ann@example.org", head + b"\r\n\r\n" + text)


def test_block_shows_envelope_subject_link_and_text() -> None:
    link = "https://example.org/mailer/unsubscribe/token"

    shown = as_block(letter(List_Unsubscribe=f"<{link}>")).decode()

    assert "list@example.org -> ann@example.org" in shown
    assert "Grüße, Ann" in shown
    assert f"unsubscribe {link}\n" in shown
    assert "Hallo Ann\n\nTschüs\n" in shown
    assert "HTML only" not in shown


def test_line_is_one_line() -> None:
    assert as_line(letter()).decode() == "c1-u1 list@example.org -> ann@example.org Grüße, Ann\n"


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        ("\x1b", r"\x1b"),
        ("\x07", r"\x07"),
        ("\x00", r"\x00"),
        ("\x7f", r"\x7f"),
        ("\x9b", r"\x9b"),
        ("\r", r"\r"),
        ("\u2028", r"\u2028"),
        ("\u202e", r"\u202e"),
        ("\u2066", r"\u2066"),
        ("\u200f", r"\u200f"),
    ],
    ids=ascii,
)
def test_control_characters_are_made_visible(character: str, shown: str) -> None:
    content_type = b"Content-Type: text/plain; charset=utf-8"

    block = as_block(plain(f"a{character}b".encode(), content_type)).decode()

    assert character not in block
    assert f"a{shown}b" in block


def test_encoded_line_break_in_the_subject_stays_on_its_line() -> None:
    head = b"Subject: =?utf-8?q?a=0Ab=1Bc?="

    assert as_line(plain(b"", head)).count(b"\n") == 1
    assert b"\x1b" not in as_block(plain(b"", head))


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Content-Type: text/plain; charset=no-such", id="unknown charset"),
        pytest.param(b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64", id="bad base64"),
        pytest.param(b"Subject: =?no-such?q?x?=\r\nX: \xff", id="bad subject"),
        pytest.param(b"Subject: =?utf-8?b?x?=", id="bad encoded word"),
        pytest.param(b"Content-Type: multipart/mixed; boundary=b", id="no parts"),
        pytest.param(b"Content-Type: application/pdf", id="no text"),
    ],
)
def test_what_cannot_be_decoded_is_still_shown(head: bytes) -> None:
    assert b"ann@example.org" in as_block(plain(b"text\r\n", head))
    assert b"ann@example.org" in as_line(plain(b"text\r\n", head))


def test_characters_that_stdout_cannot_encode_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))

    assert rb"Gr\xfc\xdfe" in as_line(letter())


class Pipe(io.RawIOBase):
    """Takes at most a few bytes at a time, and records each write."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.writes: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int | None:  # type: ignore[override]
        time.sleep(0)  # lets another thread run, as a real write does
        self.writes.append(bytes(data[: self.most]))
        return len(self.writes[-1]) or None


def use_as_stdout(monkeypatch: pytest.MonkeyPatch, most: int) -> Pipe:
    pipe = Pipe(most)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(pipe), encoding="utf-8"))
    return pipe


def test_message_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = use_as_stdout(monkeypatch, 10**6)

    list(from_url("console:").send([letter(), letter(text="x" * 50_000)]))

    assert len(pipe.writes) == 2


def test_what_was_printed_before_comes_before(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = use_as_stdout(monkeypatch, 10**6)
    print("before", end="|")

    list(from_url("console:?format=raw").send([plain(b"")]))

    assert pipe.writes == [b"before|", plain(b"").content]


def test_short_writes_are_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = use_as_stdout(monkeypatch, 7)

    list(from_url("console:?format=raw").send([plain(b"0123456789" * 9)]))

    assert b"".join(pipe.writes) == plain(b"0123456789" * 9).content


def test_threads_do_not_mix_their_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = use_as_stdout(monkeypatch, 3)
    lines = [f"{name * 40}\n".encode() for name in "abcd"]

    threads = [threading.Thread(target=lambda line=line: [write_stdout(line) for _ in range(25)]) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(b"".join(pipe.writes).splitlines(keepends=True)) == sorted(lines * 25)


def test_stdout_that_takes_nothing_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    use_as_stdout(monkeypatch, 0)

    with pytest.raises(TransportUnavailable, match="standard output"):
        list(from_url("console:").send([letter()]))


def test_no_stdout_at_all_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)

    with pytest.raises(TransportUnavailable, match="closed"):
        list(from_url("console:").send([letter()]))
    with pytest.raises(TransportUnavailable, match="closed"):
        from_url("console:").check()


def test_reader_that_went_away_is_unavailable_and_leaves_nothing_behind() -> None:
    code = """
import sys
from transports import Message, TransportUnavailable, from_url
sys.stdin.readline()
try:
    list(from_url("console:?format=raw").send([Message("m", "a@b", "c@d", b"x")]))
except TransportUnavailable as error:
    print(error, file=sys.stderr)
"""
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=writer, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        os.close(writer)
        os.close(reader)
        _, errors = process.communicate(b"\n", timeout=30)

    assert (process.returncode, errors) == (0, b"standard output: [Errno 32] Broken pipe\n")


@pytest.mark.parametrize("url", ["console:?format=xml", "console:stdout", "console:?format=raw&format=line"])
def test_url_is_refused(url: str) -> None:
    with pytest.raises(TransportConfigError):
        from_url(url)
