"""The rules of a document's style sheets: which can be inlined, and which may override them where they apply."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import tinycss2

from mailer.messages.placeholders import PLACEHOLDER

STYLE = "data-inlining-style"  # the name under which selectors see an author's style attribute

_DEEPEST = 8  # at-rules inside each other
_SKIPPED = frozenset(("font-face", "keyframes", "-webkit-keyframes", "import", "charset", "namespace", "page"))
_LINKED = frozenset(("link", "any-link"))  # every <a href>, since nobody has followed a link in a mail yet
_STATES = frozenset(("hover", "active", "focus", "focus-within", "focus-visible", "visited"))
_PARTS = frozenset(("before", "after", "first-line", "first-letter", "marker", "placeholder", "selection"))
_STRUCTURE = frozenset(("first", "last", "only"))
_PLAIN = frozenset(f"{which}-{what}" for which in _STRUCTURE for what in ("child", "of-type")) | {"empty", "root"}
_PLAIN_FUNCTIONS = frozenset(("not", "nth-child", "nth-last-child", "nth-of-type", "nth-last-of-type"))
_COMBINATORS = frozenset((".", ">", "+", "~", "*"))
_STYLE_NAME = re.compile(r"style\b", re.IGNORECASE)
_STRANGE = object()  # a selector that the matcher does not know


@dataclass(frozen=True, slots=True)
class Declared:
    """A declaration as text without its `!important`. One that is given twice in a row, as a fallback, is one."""

    name: str
    text: str
    important: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """A selector and what it declares. `conditional`: it applies in some cases only, so it is not inlined."""

    selector: str
    declared: tuple[Declared, ...]
    conditional: bool


@dataclass
class StyleRules:
    """All rules, in their order. `asked` are values of style attributes for which selectors look."""

    rules: list[Rule] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    asks_exactly: bool = False  # for how one begins or ends, or for all of it

    def read(self, sheet: str, *, conditional: bool = False) -> None:
        """Add the rules of a sheet, which may have placeholders. `conditional`: not every reader applies it."""
        hidden: dict[str, str] = {}
        named = PLACEHOLDER.sub(lambda found: hidden.setdefault(found[0], f"placeholder-{found[1]}-"), sheet)
        shown = {name: mark for mark, name in hidden.items()}
        nodes = tinycss2.parse_stylesheet(named, skip_comments=True, skip_whitespace=True)
        self._read(nodes, shown, conditional=conditional, depth=0)

    def _read(self, nodes: list[Any], shown: Mapping[str, str], *, conditional: bool, depth: int) -> None:
        for node in nodes:
            if node.type == "qualified-rule":
                self._rule(node, shown, conditional=conditional)
            elif node.type == "at-rule" and node.content is not None and node.lower_at_keyword not in _SKIPPED:
                if depth < _DEEPEST:
                    inner = tinycss2.parse_rule_list(node.content, skip_comments=True, skip_whitespace=True)
                    always = node.lower_at_keyword == "media" and _written(node.prelude).strip() in ("", "all")
                    self._read(inner, shown, conditional=conditional or not always, depth=depth + 1)

    def _rule(self, node: Any, shown: Mapping[str, str], *, conditional: bool) -> None:
        content = tinycss2.parse_blocks_contents(node.content, skip_comments=True, skip_whitespace=True)
        declared = _declared(content, shown)
        selectors = list(_selectors(node.prelude))
        plain = [self._plain(one) for one in selectors]
        if conditional or _STRANGE in plain:
            self.rules += [Rule(_widened(one), declared, conditional=True) for one in selectors if declared]
        else:
            self.rules += [Rule(one, declared, conditional=False) for one in plain if isinstance(one, str) and declared]
        for inner in content:
            if inner.type in ("qualified-rule", "at-rule") and inner.content is not None:
                nested = tinycss2.parse_blocks_contents(inner.content, skip_comments=True, skip_whitespace=True)
                self.rules.append(Rule("*", _declared(nested, shown), conditional=True))

    def _plain(self, tokens: list[Any]) -> str | object | None:
        """A selector for the matcher; None for a state or a part of an element, which cannot be inlined; or _STRANGE."""
        written, at = [], 0
        while at < len(tokens):
            token = tokens[at]
            if token == ":":
                part = tokens[at + 1 : at + 3]
                known = _pseudo(part)
                if known is None or known is _STRANGE:
                    return known
                written.append(known)
                at += 1
            elif token.type == "[] block":
                written.append(self._attribute(token))
            elif _is_name(token):
                written.append(token.serialize())
            else:
                return _STRANGE
            at += 1
        return "".join(map(str, written)).strip() or _STRANGE

    def _attribute(self, block: Any) -> str:
        """An attribute selector. The matcher sees a style attribute under another name."""
        text = str(block.serialize())
        if not _STYLE_NAME.match(text[1:].strip()):
            return text
        values = [token.value for token in block.content if token.type in ("string", "ident")]
        operator = next((token.value for token in block.content if token.type == "literal"), "")
        self.asks_exactly = self.asks_exactly or not operator.startswith("*")
        self.asked.update(values[-1:] if operator else [""])
        return "[" + _STYLE_NAME.sub(STYLE, text[1:].strip(), count=1)


def _pseudo(part: list[Any]) -> str | object | None:
    """What stands after a colon, for the matcher; None and `_STRANGE` are as in `_plain`."""
    if not part:
        return _STRANGE
    first = part[0]
    if first == ":":
        known = len(part) > 1 and part[1].type == "ident" and part[1].lower_value in _PARTS
        return None if known else _STRANGE
    if first.type == "ident":
        name = first.lower_value
        if name in _LINKED:
            return "[href]"  # as specific as the pseudo-class
        return f":{name}" if name in _PLAIN else None if name in _STATES | _PARTS else _STRANGE
    if first.type == "function" and first.lower_name in _PLAIN_FUNCTIONS:
        simple = all(token.type not in ("function", "[] block") and token != ":" for token in first.arguments)
        return f":{_written([first])}" if simple else _STRANGE
    return _STRANGE


def _is_name(token: Any) -> bool:
    """Whether it is part of a selector without brackets and colons."""
    return token.type in ("ident", "hash", "whitespace") or (token.type == "literal" and token.value in _COMBINATORS)


def _widened(tokens: list[Any]) -> str:
    """A selector that matches at least all that this one does."""
    written, at = [], 0
    while at < len(tokens):
        token = tokens[at]
        if token == ":":
            at += 2 if tokens[at + 1 : at + 2] == [":"] else 1  # and what follows
        elif _is_name(token):
            written.append(token.serialize())
        elif token.type != "[] block":
            return "*"
        at += 1
    text = "".join(written).strip()
    return text if text and text[-1] not in ">+~" and text[0] not in ">+~" and not re.search(r"[>+~]\s*[>+~]", text) else "*"


def _selectors(prelude: list[Any]) -> Iterator[list[Any]]:
    group: list[Any] = []
    for token in prelude:
        if token == ",":
            yield group
            group = []
        elif token.type != "comment":
            group.append(token)
    yield group


def _declared(content: Iterable[Any], shown: Mapping[str, str]) -> tuple[Declared, ...]:
    read: list[Declared] = []
    for node in content:
        if node.type != "declaration":
            continue
        text = f"{node.name}:{_written(node.value).strip()}"
        for name, mark in shown.items():
            text = text.replace(name, mark)
        one = Declared(node.lower_name, text, bool(node.important))
        if read and read[-1].name == one.name and read[-1].important == one.important:
            one = Declared(one.name, f"{read.pop().text};{text}", one.important)
        read.append(one)
    return tuple(read)


def _written(tokens: list[Any]) -> str:
    """CSS tokens as text; empty where they are nested too deeply to mean anything."""
    try:
        return str(tinycss2.serialize(tokens))
    except RecursionError:
        return ""
