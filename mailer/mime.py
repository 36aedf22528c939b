"""The wire forms of text in a message: folded headers, encoded words and quoted-printable, all pure ASCII.

Written by hand because the standard library's header classes are no barrier: they let an encoded newline become a new
header, and a long name with a comma become a second address. Callers refuse control characters first
(`mailer.addresses.is_forbidden`).
"""

from __future__ import annotations

import binascii
import re

MAX_LINE = 76  # characters without CRLF: what RFC 2045 section 6.7 and RFC 2047 section 2 allow
SOFT_BREAK = "=\r\n"
_FOLD = "\r\n "
_FRAME = "=?utf-8?b??="
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/^_`{|}~-]+)*")
_QUOTABLE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")
_WORDS = re.compile(r"[!-~]+(?: [!-~]+)*")


def text_header(name: str, text: str) -> str:
    """Give the unstructured field `name: text` (RFC 5322 section 2.2.1), folded, without the last CRLF."""
    folded = _fold_words(f"{name}: ", text) if _WORDS.fullmatch(text) and "=?" not in text else None
    if folded is not None:
        return folded
    return f"{name}: {_encoded_words(text, len(name) + 2)}"


def mailbox_header(name: str, display_name: str, address: str) -> str:
    """Give the field `name: display name <address>` (RFC 5322 section 3.4), folded, without the last CRLF."""
    if not display_name:
        return f"{name}: {address}"
    phrase = _phrase(display_name, len(name) + 2)
    length = len(name) + len(phrase) + len(address) + 5
    return f"{name}: {phrase}{' ' if length <= MAX_LINE else _FOLD}<{address}>"


def _phrase(text: str, column: int) -> str:
    if "=?" not in text and column + len(text) + 2 <= MAX_LINE:
        if _ATOMS.fullmatch(text):
            return text
        if _QUOTABLE.fullmatch(text):
            return f'"{text}"'
    return _encoded_words(text, column)


def _fold_words(start: str, text: str) -> str | None:
    """Fold at single spaces; None where a word is too long for a line."""
    if len(start) + len(text) <= MAX_LINE:
        return start + text
    first, *rest = text.split(" ")
    lines = [start + first]
    for word in rest:
        if len(lines[-1]) + 1 + len(word) <= MAX_LINE:
            lines[-1] += " " + word
        else:
            lines.append(" " + word)
    return "\r\n".join(lines) if max(map(len, lines)) <= MAX_LINE else None


def _encoded_words(text: str, column: int) -> str:
    """Encode as UTF-8 in base64 (RFC 2047), each word whole characters, one word a line; the first is at `column`."""
    octets = text.encode()
    words, start, room = [], 0, MAX_LINE - column
    while start < len(octets):
        end = min(start + (room - len(_FRAME)) // 4 * 3, len(octets))
        while end < len(octets) and octets[end] & 0xC0 == 0x80:  # not inside a character, RFC 2047 section 5
            end -= 1
        words.append(f"=?utf-8?b?{binascii.b2a_base64(octets[start:end], newline=False).decode()}?=")
        start, room = end, MAX_LINE - 1
    return _FOLD.join(words)


def quoted_printable(text: str) -> str:
    """Encode UTF-8 text (RFC 2045 section 6.7); every kind of line end becomes CRLF.

    The result starts at the beginning of a line, and its last line has room for the `=` of a soft break.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    encoded = [_encode_line(line) for line in lines]
    encoded[-1] = _leave_room(encoded[-1])
    return "\r\n".join(encoded)


def soft_wrapped(text: str) -> str:
    """Break printable ASCII without `=` into lines that quoted-printable allows."""
    if len(text) < MAX_LINE:
        return text
    width = MAX_LINE - 1
    return SOFT_BREAK.join([text[start : start + width] for start in range(0, len(text), width)])


def _encode_line(line: str) -> str:
    octets = binascii.b2a_qp(line.encode(), quotetabs=False, istext=False)
    return octets.decode("ascii").replace("=\n", SOFT_BREAK)


def _leave_room(line: str) -> str:
    if len(line) - line.rfind("\n") - 1 < MAX_LINE:
        return line
    return f"{line[:-1]}{SOFT_BREAK}{line[-1]}"  # not inside an escape: b2a_qp breaks a line before one would fill it
