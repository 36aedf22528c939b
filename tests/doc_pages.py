"""The documentation as data: its pages, code blocks, tables, links and inline code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: the words after the fence (`sh server`), its text and the line it starts on."""

    words: tuple[str, ...]
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    return [Block(tuple(m[1].split()), m[2], text.count("\n", 0, m.start()) + 1) for m in FENCE.finditer(text)]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text("utf-8"))


def inline_code(page: Path) -> list[str]:
    return [code.replace("\\|", "|") for code in CODE.findall(prose(page))]


def links(page: Path) -> list[str]:
    return LINK.findall(CODE.sub("", prose(page)))


def anchors(page: Path) -> set[str]:
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(prose(page))}


def section(page: Path, heading: str) -> str:
    """The text under a heading, up to the next one of its level or above."""
    found = re.search(
        rf"^(#+) {re.escape(heading)}\n(.*?)(?=^\1 |^(?!\1#)#+ |\Z)", prose(page), re.MULTILINE | re.DOTALL
    )
    assert found, f"{page.name} has no section {heading}"
    return found[2]


def table(text: str, *first: str) -> list[list[str]]:
    """The rows of all tables whose first columns are headed `first`."""
    heading = r" \| ".join(map(re.escape, first))
    found = re.findall(rf"^\| {heading} \|.*\n\|[-| ]+\n((?:\|.*\n?)+)", text, re.MULTILINE)
    assert found, f"no table of {first}"
    return [[cell.strip() for cell in line.strip("|").split(" |")] for rows in found for line in rows.splitlines()]


def long_lines(page: Path, most: int) -> list[str]:
    """The lines of prose with more than `most` characters as they are read: without tables and targets of links."""
    lines = (line for line in prose(page).splitlines() if not line.startswith(("|", "![")))
    return [line for line in lines if len(LINK.sub("]", line)) > most]


def codes(text: str) -> list[str]:
    return CODE.findall(text)
