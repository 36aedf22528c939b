"""Inline CSS: give each element the declarations of the style sheets that are about it, and leave all else as it is.

css-inline writes a whole document anew, and loses comments in doing so, such as those with which one writes for
Outlook. So it gets a copy, and only tells which rules match which tag. The source gets the declarations of these rules
as style attributes; not a character of it changes otherwise. The style sheets stay, for media queries and states.

An inlined declaration wins over a rule in a media query. Where such a rule declares the same for an element, without
`!important`, nothing is inlined that would change what it does. A declaration with `!important` is inlined without it,
as the rule in its sheet stays and wins over what is inlined.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import css_inline

from mailer.messages.html_part.markup import Token, tokens
from mailer.messages.inlining.marked_copy import NUMBER, MarkedCopy, TooMuch, marked_copy
from mailer.messages.inlining.style_rules import Declared, Rule

MOST_STEPS = 1_000_000  # rules times tags
MOST_ADDED = 512 * 1024  # characters

_RULE = "r"  # before the number of a rule, which stands for its declarations
_VENDORS = ("webkit", "moz", "ms", "o")
_FAMILIES = {"line-height": "font", "row-gap": "gap", "column-gap": "gap", "white-space": "white"}


def inlined(source: str) -> str:
    """`source` with its style sheets inlined; itself where it has none. Raises `TooMuch` in words about the body."""
    if "<style" not in source.lower():
        return source
    copy = marked_copy(source)
    rules = copy.rules.rules
    if not rules:
        return source
    if len(rules) * len(copy.tags) > MOST_STEPS:
        raise TooMuch("the body has too many style rules for so many tags")
    matched = _matched(copy)
    added, size = list[tuple[int, int, str]](), 0
    for number, tag in enumerate(copy.tags):
        change = _change(source, tag, [rules[one] for one in matched.get(number, ())])
        if change is not None:
            added.append(change)
            size += len(change[2])
            if size > MOST_ADDED:
                raise TooMuch(f"inlined, its styles have more than {MOST_ADDED // 1024} KB")
    return _replaced(source, added)


def _matched(copy: MarkedCopy) -> dict[int, tuple[int, ...]]:
    """The numbers of the rules that match each tag, in the order of the cascade."""
    sheet = "\n".join(f"{rule.selector}{{{_RULE}{place}:0}}" for place, rule in enumerate(copy.rules.rules))
    inliner = css_inline.CSSInliner(
        inline_style_tags=False, keep_link_tags=True, load_remote_stylesheets=False, base_url=None, extra_css=sheet
    )
    found: dict[int, tuple[int, ...]] = {}
    try:
        answer = inliner.inline(copy.text)
    except css_inline.InlineError as error:
        raise TooMuch(f"its styles cannot be inlined: {error}") from error
    for token in tokens(answer):
        given = {one.name: answer[slice(*one.value)] for one in token.attributes if one.value}
        if token.kind != "start" or not given.get(NUMBER, "").isdecimal():
            continue
        number, rules = int(given[NUMBER]), _numbers(given.get("style", ""))
        if found.setdefault(number, rules) != rules:
            found[number] = ()  # a parser repeats the element, and the rules for its copies differ
    return found


def _numbers(style: str) -> tuple[int, ...]:
    names = (one.partition(":")[0].strip().removeprefix(_RULE) for one in style.split(";"))
    return tuple(int(name) for name in names if name.isdecimal())


def _change(source: str, tag: Token, rules: Sequence[Rule]) -> tuple[int, int, str] | None:
    """What stands in `source` from one place to another is to become a text, with a style attribute; None: nothing."""
    before, after = _declarations(rules)
    own = next((one for one in tag.attributes if one.name == "style"), None)
    said = ";".join([*before, *after])
    for question in filter(None, (rule.question for rule in rules)):
        if question.value in said or (question.exactly and own is not None):
            return None  # a selector would find this element that does not find it now, or the other way round
    if not said:
        return None
    if own is None:
        at = tag.start + 1 + len(tag.name)
        return at, at, f' style="{_escaped([*before, *after])}"'
    if own.value is None:
        return None
    start, end = own.value
    given = source[start:end].strip().rstrip(";")
    text = ";".join(filter(None, (_escaped(before), given, _escaped(after))))
    return start, end, text if own.quote else f'"{text.replace(chr(34), "&quot;")}"'


def _declarations(rules: Iterable[Rule]) -> tuple[list[str], list[str]]:
    """The declarations that count, in the order of the cascade: those before an author's own, and those after."""
    rules = list(rules)
    open_to = {_family(one) for rule in rules if rule.conditional for one in rule.declared if not one.important}
    normal, important = dict[str, str](), dict[str, str]()
    for rule in rules:
        for one in () if rule.conditional else rule.declared:
            place = important if one.important else normal
            if _family(one) not in open_to and "all" not in open_to:
                place.pop(one.name, None)
                place[one.name] = one.text
    return [text for name, text in normal.items() if name not in important], list(important.values())


def _family(one: Declared) -> str:
    """The same for properties of which one may set the other."""
    name = one.name
    for vendor in _VENDORS:
        name = name.removeprefix(f"-{vendor}-")
    return _FAMILIES.get(name) or name.partition("-")[0]


def _escaped(declarations: Iterable[str]) -> str:
    return html.escape(";".join(declarations), quote=True)


def _replaced(source: str, changes: Iterable[tuple[int, int, str]]) -> str:
    parts, at = list[str](), 0
    for start, end, text in changes:
        parts += [source[at:start], text]
        at = end
    return "".join([*parts, source[at:]])
