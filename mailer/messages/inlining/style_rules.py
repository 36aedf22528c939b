"""The rules of a document's style sheets: which can be inlined, and which may override them where they apply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import tinycss2

from mailer.messages.inlining.selectors import StrangeSelector, StyleQuestion, divided, matchable, widened
from mailer.messages.placeholders import PLACEHOLDER

_DEEPEST = 8  # at-rules inside each other
_SKIPPED = frozenset(("font-face", "keyframes", "-webkit-keyframes", "import", "charset", "namespace", "page"))


@dataclass(frozen=True, slots=True)
class Declared:
    """A declaration as text without its `!important`. One that is given twice in a row, as a fallback, is one."""

    name: str
    text: str
    important: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """A selector and what it declares. `conditional`: it applies in some cases only, so it is not inlined.

    With a `question`, some rule applies to what this selector matches only if the style attribute answers it.
    """

    selector: str
    declared: tuple[Declared, ...] = ()
    conditional: bool = False
    question: StyleQuestion | None = None


@dataclass
class StyleRules:
    """All rules, in their order."""

    rules: list[Rule] = field(default_factory=list)

    def read(self, sheet: str, *, conditional: bool = False) -> None:
        """Add the rules of a sheet, which may have placeholders. `conditional`: not every reader applies it."""
        marks: dict[str, str] = {}  # a placeholder in brackets is no CSS, so a word stands for it meanwhile
        named = PLACEHOLDER.sub(lambda found: marks.setdefault(found[0], f"placeholder-{found[1]}-"), sheet)
        words = {word: mark for mark, word in marks.items()}
        self._read(_parsed(tinycss2.parse_stylesheet, named), words, conditional=conditional, depth=0)

    def _read(self, nodes: list[Any], words: Mapping[str, str], *, conditional: bool, depth: int) -> None:
        for node in nodes:
            if node.type == "qualified-rule":
                self._rule(node, words, conditional=conditional)
            elif _has_rules(node) and depth < _DEEPEST:
                always = node.lower_at_keyword == "media" and _written(node.prelude).strip() in ("", "all")
                inner = _parsed(tinycss2.parse_rule_list, node.content)
                self._read(inner, words, conditional=conditional or not always, depth=depth + 1)

    def _rule(self, node: Any, words: Mapping[str, str], *, conditional: bool) -> None:
        content, questions = _parsed(tinycss2.parse_blocks_contents, node.content), list[StyleQuestion]()
        declared, selectors = _declared(content, words), list(divided(node.prelude))
        known, wide = list[str | None](), list[str]()
        try:
            known = [matchable(one, questions) for one in selectors]
        except StrangeSelector:  # then a reader may ignore the whole rule, or apply it
            conditional = True
        if conditional:
            known, wide = [], [widened(one) for one in selectors]
        if declared:
            self.rules += [Rule(one.selector, question=one) for one in questions]
            self.rules += [Rule(one, declared) for one in known if one]
            self.rules += [Rule(one, declared, conditional=True) for one in wide]
        for inner in content:
            if inner.type in ("qualified-rule", "at-rule") and inner.content is not None:
                nested = _declared(_parsed(tinycss2.parse_blocks_contents, inner.content), words)
                self.rules.append(Rule("*", nested, conditional=True))


def _parsed(parse: Any, source: Any) -> list[Any]:
    return list(parse(source, skip_comments=True, skip_whitespace=True))


def _has_rules(node: Any) -> bool:
    return node.type == "at-rule" and node.content is not None and node.lower_at_keyword not in _SKIPPED


def _declared(content: Iterable[Any], words: Mapping[str, str]) -> tuple[Declared, ...]:
    """The declarations; a placeholder stands in brackets again."""
    read: list[Declared] = []
    for node in content:
        if node.type != "declaration":
            continue
        text = f"{node.name}:{_written(node.value).strip()}"
        for word, mark in words.items():
            text = text.replace(word, mark)
        one = Declared(node.lower_name, text, bool(node.important))
        if read and (read[-1].name, read[-1].important) == (one.name, one.important):
            one = Declared(one.name, f"{read.pop().text};{text}", one.important)
        read.append(one)
    return tuple(read)


def _written(tokens: list[Any]) -> str:
    """CSS tokens as text; empty where they are nested too deeply to mean anything."""
    try:
        return str(tinycss2.serialize(tokens))
    except RecursionError:
        return ""
