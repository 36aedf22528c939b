"""One sentence with places for values, and what stood in them in a finished sentence. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_PLACE = re.compile(r"%\((\w+)\)s")
_NUMBERS = frozenset({"all", "allowed", "count", "failed", "seconds", "size"})  # have no space in them


def N_(text: str) -> str:  # noqa: N802 - the name by which Babel finds texts that pages translate
    """Mark a text to be translated."""
    return text


@dataclass(frozen=True, slots=True)
class Template:
    """`text` as the catalogue has it; `literals` is what stands around the places, and `names` are theirs."""

    text: str
    literals: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Template:
        """Take the text apart."""
        parts = _PLACE.split(text)
        return cls(text, tuple(parts[::2]), tuple(parts[1::2]))

    @property
    def certainty(self) -> tuple[int, int]:
        """How many characters it fixes at a sentence's beginning, and in all: of two that fit, the one with more."""
        return len(self.literals[0]), sum(map(len, self.literals))

    def values(self, sentence: str) -> Mapping[str, str] | None:
        """What stands in the places, if `sentence` was made from this template; else None. Its work is linear."""
        first, last = self.literals[0], self.literals[-1]
        if not self.names:
            return {} if sentence == first else None
        end = len(sentence) - len(last)
        if not sentence.startswith(first) or not sentence.endswith(last) or end < len(first):
            return None
        found, start = [], len(first)
        for literal in self.literals[1:-1]:
            place = sentence.find(literal, start, end)
            if place < 0:
                return None
            found.append(sentence[start:place])
            start = place + len(literal)
        values = dict(zip(self.names, [*found, sentence[start:end]], strict=True))
        return None if any(" " in value for name, value in values.items() if name in _NUMBERS) else values
