"""How the addresses and the name of somebody may be written in a text, and the text without them. Pure.

A link has them percent-encoded, HTML has character references, JSON and patterns have backslashes, mail has
quoted-printable, and a parameter of a link may be base64. Case never matters but in base64.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from html.entities import codepoint2name
from typing import Any

GONE = "nobody@erased.invalid"  # in place of an address: a name that nobody can have (RFC 2606)
NAMELESS = "(erased)"  # in place of a name
NAMES = ("name", "username")  # the fields of a query that have one
SHORTEST = 3  # characters of what a database looks for first, so that few texts have to be read

_REFERENCES = {**codepoint2name, ord("@"): "commat", ord("."): "period", ord("+"): "plus", ord("_"): "lowbar"}
# what stands before is no letter of theirs: it ends an encoded character, or an escape of JSON
_ENCODED = r"(?<=%(?!2b|2d|2e|5f)[0-9a-f][0-9a-f])|(?<=\\[nrt])"
_BEFORE = rf"(?:(?<![\w+-])(?<![\w+-]\.)|{_ENCODED})"
_BEFORE_NAME = rf"(?:(?<!\w)|{_ENCODED})"
_FILES = "csv|tsv|txt|json|ndjson|xlsx|ods|eml"  # a list may be called after somebody
_BEHIND = rf"(?![\w-])(?!\\?(?-i:\.(?!(?:{_FILES})\b)[a-z]))"  # another domain would go on so
_GAP = r"(?:[\s+_,\xa0]|%20|&nbsp;|&#160;|=20|\\n)+"
_RUN = re.compile(r"[a-z0-9]+", re.IGNORECASE)
_IDEOGRAPHS = 0x2E80  # from here on, a script has names without blanks between their words


class Traces:
    """The addresses of somebody as they stand anywhere, and their name and user name; "" for what is not looked for."""

    def __init__(self, addresses: Collection[str], name: str = "", username: str = "") -> None:
        self.addresses = sorted({form for one in addresses for form in _domain_forms(one)}, key=len, reverse=True)
        self.full_name = name if is_distinctive(name) else ""
        self._names = {one.casefold() for one in (name, username) if one}
        self._username = username

    def within(self, text: str) -> bool:
        """Whether the text has any of it."""
        return self.without(text) != text

    def without(self, text: str) -> str:
        """The text without it."""
        for pattern, instead in self._patterns:
            text = pattern.sub(instead, text)
        return text

    def without_all(self, value: Any, field: str = "") -> Any:
        """A query or another document without it. `field` is whose value it is: a user name counts in its own alone."""
        if isinstance(value, str):
            return self._without_names(value, field) if field in NAMES else self._without(value, field)
        if isinstance(value, list):
            return [self.without_all(one, field) for one in value]
        if isinstance(value, Mapping):
            of = {name: field if name.startswith("$") else name for name in value}
            return {self.without(name): self.without_all(one, of[name]) for name, one in value.items()}
        return value

    @cached_property
    def looked_for(self) -> Collection[str]:
        """Pieces in lower case of which each text that has any of it has one."""
        found = {form for one in self.addresses for form in _pieces(one.partition("@")[0], one)}
        found |= {piece.lower() for one in self.addresses for piece in _base64_pieces(one)}
        found |= set(_pieces(self.full_name, self.full_name)) if self.full_name else set()
        mentioned = f"@{self._username}".lower() if self._username else ""
        named = {f'"{one}"' for one in self._names}
        return sorted({*found, *named, *([mentioned] if mentioned else [])} - {""})

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], str]]:
        found = []
        if self.addresses:
            any_of = "|".join(map(_spelled, self.addresses))
            found.append((re.compile(f"{_BEFORE}(?:{any_of}){_BEHIND}", re.IGNORECASE), GONE))
            encoded = "|".join(re.escape(piece) for one in self.addresses for piece in _base64_pieces(one))
            found.append((re.compile(f"[A-Za-z0-9+/_-]{{0,3}}(?:{encoded})[A-Za-z0-9+/_-]{{0,3}}=*"), GONE))
        if self.full_name:
            words = _GAP.join(map(_spelled, self.full_name.split()))
            found.append((re.compile(rf"{_BEFORE_NAME}{words}(?!\w)", re.IGNORECASE), NAMELESS))
        if self._username:
            mention = rf"(?<![\w@.])@{re.escape(self._username)}(?![\w-]|\.\w)"
            found.append((re.compile(mention, re.IGNORECASE), NAMELESS))
        return found

    def _without(self, text: str, field: str) -> str:
        """A draft keeps its query as it was typed, so it is JSON within a text."""
        if field == "query":
            try:
                query = json.loads(text)
            except ValueError:
                return self.without(text)
            changed = self.without_all(query)
            return text if changed == query else json.dumps(changed, ensure_ascii=False)
        return self.without(text)

    def _without_names(self, text: str, field: str) -> str:
        """The value of a name in a query, or a pattern for exactly it."""
        bare = re.sub(r"\\(.)", r"\1", text).removeprefix("^").removesuffix("$").casefold()
        return NAMELESS if bare in self._names else self._without(text, field)


def is_distinctive(name: str) -> bool:
    """Whether a name is that of one person among many: a single word such as Ida may be anything."""
    return len(name.split()) > 1 or (len(name) >= SHORTEST and all(ord(char) >= _IDEOGRAPHS for char in name))


def _domain_forms(address: str) -> Iterator[str]:
    """The address as it is, and with its domain in letters beyond ASCII, if it has any."""
    yield address
    local, _, domain = address.rpartition("@")
    if "xn--" in domain.lower():
        try:
            yield f"{local}@{domain.encode().decode('idna')}"
        except UnicodeError:
            return


def _spelled(text: str) -> str:
    """A pattern for the text in any spelling."""
    return "".join(map(_char, text))


def _char(char: str) -> str:
    code, octets = ord(char), char.encode()
    forms = [re.escape(char)] if char.isalnum() else [rf"\\{{0,3}}{re.escape(char)}", rf"\[{re.escape(char)}\]"]
    forms += ["".join(f"%(?:25)?{octet:02x}" for octet in octets), "".join(f"={octet:02x}" for octet in octets)]
    forms += [f"&#0*{code};?", f"&#x0*{code:x};?", rf"\\{{1,2}}u{code:04x}"]
    if code in _REFERENCES:
        forms.append(f"&{_REFERENCES[code]};")
    return f"(?:{'|'.join(forms)})"


def _pieces(text: str, whole: str) -> Iterator[str]:
    """The longest run of plain letters and digits, which most spellings leave as it is, and what others make of it."""
    run = max(_RUN.findall(text), key=len, default="").lower()
    if len(run) < SHORTEST:
        run = max(_RUN.findall(whole), key=len, default="").lower()
    if len(run) < SHORTEST:
        yield from {whole.lower(), json.dumps(whole)[1:-1].lower()}
        return
    yield run
    begin = run[:SHORTEST]
    yield "".join(f"&#{ord(char)};" for char in begin)
    yield "".join(f"&#x{ord(char):x};" for char in begin)
    yield "".join(f"%{ord(char):02x}" for char in begin)


def _base64_pieces(address: str) -> Iterator[str]:
    """What base64 has of the address wherever it begins in what is encoded, in both its alphabets."""
    for before in range(3):
        encoded = b64encode(bytes(before) + address.encode()).decode().rstrip("=")
        whole = encoded[(0, 2, 3)[before] : (before + len(address.encode())) * 8 // 6]
        yield from {whole, whole.translate(str.maketrans("+/", "-_"))}
