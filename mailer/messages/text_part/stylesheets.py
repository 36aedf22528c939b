"""A small CSS cascade: which declarations of style sheets and style attributes decide what is shown."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import tinycss2
from justhtml import Element, Node, SelectorError, matches

from mailer.messages.text_part.media_queries import applies_on_a_desktop
from mailer.messages.text_part.tree import attribute, elements, text_of

PROPERTIES = frozenset(
    ("display", "visibility", "opacity", "font-size", "font", "white-space", "overflow", "overflow-x", "overflow-y")
) | {"width", "height", "max-width", "max-height"}
_DISPLAYS = frozenset(
    ("none", "block", "inline", "inline-block", "list-item", "contents", "flow-root", "flex", "inline-flex", "grid")
) | {"inline-grid", "table", "inline-table", "table-row", "table-cell", "table-caption", "table-row-group"}
_MAX_SHEETS = 256 * 1024  # characters: more than any mail program reads
_MAX_STEPS = 1_000_000  # of matching selectors with elements, as `_match` counts them
_NAMES = re.compile(r"[.#]?[\w-]+")
_SIMPLE = re.compile(r"[\w.#-]+")
_DESCENDANT = re.compile(r"[\w.#*\s>-]+")
_LAST_COMPOUND = re.compile(r"[^\s>+~]+$")
_INTERESTING = re.compile(r"display|visib|opaci|font|white|overf|width|height|\\", re.IGNORECASE)

Priority = tuple[bool, bool, int, int, int, int]  # important, inline, ids, classes, elements, place
Declared = tuple[tuple[str, str, bool], ...]  # property, value in lower case, important


@dataclass(frozen=True, slots=True)
class _Rule:
    selector: str
    declared: Declared
    place: int


def declarations(style: str) -> Declared:
    """The declarations of a style attribute, or of a rule's block, for PROPERTIES."""
    return _declarations(style) if _INTERESTING.search(style) else ()


@lru_cache(maxsize=1024)
def _declarations(style: str) -> Declared:
    return _read(tinycss2.parse_blocks_contents(style, skip_comments=True, skip_whitespace=True))


def _read(nodes: list[Any]) -> Declared:
    read = []
    for node in nodes:
        if node.type == "declaration" and node.lower_name in PROPERTIES:
            value = "".join(part.value if part.type == "ident" else _written([part]) for part in _bare(node.value))
            if node.lower_name != "display" or value.strip().lower() in _DISPLAYS:  # as the others are ignored
                read.append((node.lower_name, value.strip().lower(), node.important))
    return tuple(read)


def _written(tokens: list[Any]) -> str:
    """CSS tokens as text; empty where they are nested too deeply to mean anything."""
    try:
        return str(tinycss2.serialize(tokens))
    except RecursionError:
        return ""


def _bare(tokens: list[Any]) -> list[Any]:
    return [token for token in tokens if token.type != "comment"]


class Cascade:
    """The declarations that win, for each element of a document."""

    def __init__(self, root: Node) -> None:
        every = list(elements(root))
        self._matched: dict[int, list[tuple[Priority, str, str]]] = defaultdict(list)
        rules = list(_rules(every))
        if rules:
            self._match(every, rules)

    def of(self, element: Element) -> dict[str, str]:
        """Give the declared values of `element`, for those of PROPERTIES that have one."""
        if "style" not in element.attrs and id(element) not in self._matched:
            return {}
        winning: dict[str, tuple[Priority, str]] = {}
        inline = declarations(attribute(element, "style") or "")
        own = [((important, True, 0, 0, 0, n), name, value) for n, (name, value, important) in enumerate(inline)]
        for priority, name, value in [*self._matched.get(id(element), ()), *own]:
            if name not in winning or priority >= winning[name][0]:
                winning[name] = priority, value
        return {name: value for name, (_, value) in winning.items()}

    def _match(self, every: list[Element], rules: list[_Rule]) -> None:
        index = _index(every)
        steps, depth = 0, _depth(every)
        for rule in rules:
            candidates = _candidates(rule.selector, index)
            steps += 20 + 10 * _tried(rule.selector, depth, len(every)) * len(candidates)
            if steps > _MAX_STEPS:
                return  # the rules left are not applied: showing a word too many is better than hiding one
            for element in candidates:
                if _matches(element, rule.selector):
                    self._matched[id(element)] += _weighted(rule)


def _depth(every: list[Element]) -> int:
    """How deeply the elements are nested."""
    depths: dict[int, int] = {}
    for element in every:
        depths[id(element)] = depths.get(id(element.parent), 0) + 1
    return max(depths.values())


def _tried(selector: str, depth: int, count: int) -> int:
    """How many of `count` elements may have to be looked at to tell whether `selector` matches one of them."""
    if not _DESCENDANT.fullmatch(selector):
        return count
    ancestors = len(selector.replace(">", " ").split()) - 1
    return min(count, int(depth ** min(ancestors, 8)))


def _rules(every: list[Element]) -> Iterator[_Rule]:
    """The rules that a desktop with a light screen applies, one for each selector."""
    sheets = [one for one in every if one.name == "style" and applies_on_a_desktop(attribute(one, "media") or "")]
    sheet = "\n".join(text_of(one) for one in sheets)[:_MAX_SHEETS]
    if not _INTERESTING.search(sheet):
        return
    place = 0
    for node in _in_force(tinycss2.parse_stylesheet(sheet, skip_comments=True, skip_whitespace=True)):
        declared = _read(tinycss2.parse_blocks_contents(node.content, skip_comments=True, skip_whitespace=True))
        for selector in _selectors(node.prelude) if declared else ():
            place += 1
            yield _Rule(selector, declared, place)


def _in_force(nodes: list[Any]) -> Iterator[Any]:
    """The style rules, with those inside media queries that a desktop fulfils."""
    pending = [iter(nodes)]
    while pending:
        for node in pending[-1]:
            if node.type == "qualified-rule":
                yield node
            elif _is_medium_in_force(node):
                pending.append(iter(tinycss2.parse_rule_list(node.content, skip_comments=True, skip_whitespace=True)))
                break
        else:
            pending.pop()


def _is_medium_in_force(node: Any) -> bool:
    if node.type != "at-rule" or node.lower_at_keyword != "media" or node.content is None:
        return False
    return applies_on_a_desktop(_written(node.prelude))


def _selectors(prelude: list[Any]) -> list[str]:
    groups: list[list[Any]] = [[]]
    for part in _bare(prelude):
        if part == ",":
            groups.append([])
        else:
            groups[-1].append(part)
    return [text for group in groups if (text := _written(group).strip())]


def _index(every: list[Element]) -> dict[str, list[Element]]:
    index: dict[str, list[Element]] = defaultdict(list)
    for element in every:
        index["*"].append(element)
        index[element.name].append(element)
        index[f"#{attribute(element, 'id') or ''}"].append(element)
        for name in set((attribute(element, "class") or "").split()):
            index[f".{name}"].append(element)
    return index


def _candidates(selector: str, index: dict[str, list[Element]]) -> list[Element]:
    """The elements that `selector` may match: those that have the rarest name in its last compound selector."""
    last = _LAST_COMPOUND.search(selector)
    plain = _SIMPLE.match(last[0]) if last else None
    names = _NAMES.findall(plain[0]) if plain else []
    keys = [name if name[0] in ".#" else name.lower() for name in names] or ["*"]
    return min((index.get(key, []) for key in keys), key=len)


def _matches(element: Element, selector: str) -> bool:
    try:
        return matches(element, selector)
    except (SelectorError, RecursionError):  # such as ::before, which is no element
        return False


def _weighted(rule: _Rule) -> list[tuple[Priority, str, str]]:
    ids, classes, types = _specificity(rule.selector)
    place = rule.place
    return [((important, False, ids, classes, types, place), name, value) for name, value, important in rule.declared]


@lru_cache(maxsize=1024)
def _specificity(selector: str) -> tuple[int, int, int]:
    """Specificity as in Selectors Level 4 section 17, but what is inside `:not()` and the like counts nothing."""
    tokens = tinycss2.parse_component_value_list(selector)
    before = [None, *tokens]
    ids = sum(token.type == "hash" for token in tokens)
    marked = [previous in (".", ":") for previous in before]
    classes = sum(token.type == "[] block" for token in tokens) + sum(marked)
    plain = [token.type == "ident" and not mark for token, mark in zip(tokens, marked, strict=False)]
    return ids, classes, sum(plain)
