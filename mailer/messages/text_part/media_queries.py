"""Which media queries a mail program on a desktop fulfils: a wide screen with light colours. Pure."""

from __future__ import annotations

import re

_WIDTH = 1024  # CSS pixels
_FEATURE = re.compile(r"\(\s*(min|max)-(?:device-)?width\s*:\s*([\d.]+)\s*(px|em|rem)\s*\)")
_FULFILLED = re.compile(r"\(\s*prefers-color-scheme\s*:\s*light\s*\)|\(\s*orientation\s*:\s*landscape\s*\)")
_MEDIUM = re.compile(r"(?:only\s+)?(all|screen)")
_AND = re.compile(r"\s+and\s+|\band\b")


def applies_on_a_desktop(queries: str) -> bool:
    """Whether one of the comma-separated queries holds. No query holds everywhere; what is unknown does not hold."""
    return not queries.strip() or any(_holds(query) for query in queries.lower().split(","))


def _holds(query: str) -> bool:
    return all(_fulfilled(part.strip()) for part in _AND.split(query.strip()))


def _fulfilled(part: str) -> bool:
    width = _FEATURE.fullmatch(part)
    if width is None:
        return bool(_MEDIUM.fullmatch(part) or _FULFILLED.fullmatch(part))
    try:
        pixels = float(width[2]) * (1 if width[3] == "px" else 16)
    except ValueError:
        return False
    return pixels <= _WIDTH if width[1] == "min" else pixels >= _WIDTH
