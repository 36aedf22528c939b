"""The wire forms of text in a message: folded headers, encoded words and quoted-printable, all pure ASCII.

Written by hand because the standard library's header classes are no barrier: they let an encoded newline become a new
header, and a long name with a comma become a second address. Callers refuse control characters first
(`mailer.text.is_one_line`).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

MAX_LINE = 76  # characters without CRLF: what RFC 2045 section 6.7 and RFC 2047 section 2 allow
MAX_WORD = 900  # characters of a line of a quoted name, whose words cannot be folded; RFC 5322 allows 998 in a line
SOFT_BREAK = "=\r\n"
_FOLD = "\r\n "
_FRAME = "=?utf-8?q??="
_ONE_CHARACTER = 12  # characters that one of four octets takes in Q encoding
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/^_`{|}~-]+)*")
_WORDS = re.compile(r"[!-~]+(?: +[!-~]+)*")
_SPECIAL = re.compile(r'(["\\])')
_ESCAPED = r"\\\1"
_KEPT_IN_TEXT = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'()*+,-./:;<>@[]^`{|}~\"\\"
)
_KEPT_IN_PHRASE = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"
)  # RFC 2047 section 5


def text_header(name: str, text: str) -> str:
    """Give the unstructured field `name: text` (RFC 5322 section 2.2.1), folded, without the last CRLF."""
    start = f"{name}: "
    if _WORDS.fullmatch(text) and "=?" not in text:
        folded = _folded(start, text, MAX_LINE)
        if folded is not None:
            return folded
    return _partly_encoded(start, text, _WORDS, _KEPT_IN_TEXT)


def phrase_header(name: str, phrase: str, address: str) -> str:
    """Give the field `name: phrase <address>`, folded, without the last CRLF.

    That is a mailbox with its display name (RFC 5322 section 3.4), or a list with its description (RFC 2919 section 3).
    """
    start = f"{name}: "
    if not phrase:
        return f"{start}<{address}>"
    field = _phrase(start, phrase)
    length = len(field) - field.rfind("\n") - 1 + len(address) + 3
    return f"{field}{' ' if length <= MAX_LINE else _FOLD}<{address}>"


def mailbox_header(name: str, display_name: str, address: str) -> str:
    """Give the field `name: display name <address>`, or `name: address` where there is no display name."""
    if not display_name:
        return f"{name}: {address}"
    length = len(name) + len(display_name) + len(address) + 5
    if length <= MAX_LINE and "=?" not in display_name and _ATOMS.fullmatch(display_name):  # nearly always
        return f"{name}: {display_name} <{address}>"
    return phrase_header(name, display_name, address)


def _phrase(start: str, text: str) -> str:
    if "=?" not in text:
        if len(start) + len(text) <= MAX_LINE and _ATOMS.fullmatch(text):
            return start + text
        if _WORDS.fullmatch(text) and "  " not in text:
            folded = _folded(start, f'"{_SPECIAL.sub(_ESCAPED, text)}"', MAX_WORD)
            if folded is not None:
                return folded
    return _partly_encoded(start, text, _ATOMS, _KEPT_IN_PHRASE)


def _folded(start: str, text: str, longest: int) -> str | None:
    """Fold at single blanks; None where a line would be longer than `longest`."""
    if len(start) + len(text) <= MAX_LINE:
        return start + text
    lines = _filled([start.rstrip(" ")], re.split("(?<! ) (?! )", text))
    return "\r\n".join(lines) if max(map(len, lines)) <= longest else None


def _partly_encoded(start: str, text: str, plain: re.Pattern[str], kept: frozenset[int]) -> str:
    """Encode (RFC 2047) from the first word to the last that cannot stay as it is, and leave those around them."""
    words = text.split(" ")
    first, last = _to_be_encoded(start, words, plain)
    lines = _filled([start.rstrip(" ")], words[:first])
    if len(lines[-1]) + len(_FRAME) + _ONE_CHARACTER >= MAX_LINE:
        lines.append("")
    encoded = _encoded_words(" ".join(words[first:last]), len(lines[-1]) + 1, kept)
    return "\r\n".join(_filled(lines, [*encoded, *words[last:]]))


def _filled(lines: list[str], words: list[str]) -> list[str]:
    """Append words to the last line, and begin a new one where there is no room; the first word stays by the name."""
    for word in words:
        if lines[-1] and (len(lines) > 1 or " " in lines[0]) and len(lines[-1]) + 1 + len(word) > MAX_LINE:
            lines.append("")
        lines[-1] += " " + word
    return lines


def _to_be_encoded(start: str, words: list[str], plain: re.Pattern[str]) -> tuple[int, int]:
    """The range of words to encode: from the first to the last that cannot stand as it is.

    An empty word stands for a blank beside a blank. It can only be encoded together with a word beside it.
    """
    needy = [place for place, word in enumerate(words) if not plain.fullmatch(word) or "=?" in word]
    needy += [place for place, word in enumerate(words) if len(word) + (1 if place else len(start)) > MAX_LINE]
    first, last = (min(needy), max(needy) + 1) if needy else (0, len(words))
    if not "".join(words[first:last]):
        first, last = max(0, first - 1), last if first else min(len(words), last + 1)
    return first, last


def _encoded_words(text: str, column: int, kept: frozenset[int]) -> list[str]:
    """Encode as UTF-8 (RFC 2047), each encoded word of whole characters; the first begins at `column`.

    In Q encoding, which people can read, where it is no longer than base64 or the text is ASCII; else in base64.
    """
    octets = text.encode()
    quoted = [_quoted(character, kept) for character in text]
    length = sum(map(len, quoted))
    return (
        _q_words(quoted, column) if text.isascii() or length <= (len(octets) + 2) // 3 * 4 else _b_words(octets, column)
    )


def _quoted(character: str, kept: frozenset[int]) -> str:
    if character == " ":
        return "_"
    octets = character.encode()
    return character if octets[0] in kept else "".join([f"={octet:02X}" for octet in octets])


def _q_words(quoted: list[str], column: int) -> list[str]:
    words, room = [""], MAX_LINE - column - len(_FRAME)
    for character in quoted:
        if len(words[-1]) + len(character) > room:
            words.append("")
            room = MAX_LINE - 1 - len(_FRAME)
        words[-1] += character
    return [f"=?utf-8?q?{word}?=" for word in words]


def _b_words(octets: bytes, column: int) -> list[str]:
    words, start, room = [], 0, MAX_LINE - column - len(_FRAME)
    while start < len(octets):
        end = min(start + room // 4 * 3, len(octets))
        while end < len(octets) and octets[end] & 0xC0 == 0x80:  # not inside a character, RFC 2047 section 5
            end -= 1
        words.append(f"=?utf-8?b?{binascii.b2a_base64(octets[start:end], newline=False).decode()}?=")
        start, room = end, MAX_LINE - 1 - len(_FRAME)
    return words


def quoted_printable(text: str) -> str:
    """Encode UTF-8 text (RFC 2045 section 6.7); every kind of line end becomes CRLF.

    The result starts at the beginning of a line, and its last line has room for the `=` of a soft break. No line begins
    with a dot, so that nobody on the way has to double one and none is lost.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    encoded = [_encode_line(line) for line in lines]
    encoded[-1] = _leave_room(encoded[-1])
    return _without_leading_dots("\r\n".join(encoded))


def soft_wrapped(text: str) -> str:
    """Break printable ASCII without `=` into lines that quoted-printable allows, as `quoted_printable` would."""
    width = MAX_LINE - 1
    if len(text) <= 2 * width and not text.startswith(".") and not text.startswith(".", width):  # nearly always
        return f"{text[:width]}{SOFT_BREAK}{text[width:]}" if len(text) > width else text
    return _without_leading_dots(SOFT_BREAK.join([text[at : at + width] for at in range(0, len(text), width)]))


def _encode_line(line: str) -> str:
    octets = binascii.b2a_qp(line.encode(), quotetabs=False, istext=False)
    return octets.decode("ascii").replace("=\n", SOFT_BREAK)


def _leave_room(line: str) -> str:
    if len(line) - line.rfind("\n") - 1 < MAX_LINE:
        return line
    return f"{line[:-1]}{SOFT_BREAK}{line[-1]}"  # not inside an escape: b2a_qp breaks a line before one would fill it


def _without_leading_dots(encoded: str) -> str:
    """Write each dot that begins a line as its code; see `quoted_printable`."""
    if not encoded.startswith(".") and "\r\n." not in encoded:
        return encoded
    return "\r\n".join([piece for line in encoded.split("\r\n") for piece in _dot_encoded(line)])


def _dot_encoded(line: str) -> Iterator[str]:
    """The line without a dot at its beginning. Where it becomes too long by that, what is left begins another."""
    width = MAX_LINE - 1
    while line.startswith("."):
        line = f"=2E{line[1:]}"
        if len(line.removesuffix("=")) > width:
            escape = line.find("=", width - 2, width)
            end = width if escape < 0 else escape
            yield line[:end] + "="
            line = line[end:]
    yield line
