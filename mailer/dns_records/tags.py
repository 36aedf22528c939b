"""Lists of tags, as DKIM, DMARC, MTA-STS and TLS-RPT have them: `v=DMARC1; p=none` (RFC 6376 section 3.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of a record by name, in lower case, and what is wrong with how they are written, a sentence each."""

    values: Mapping[str, str]
    problems: tuple[str, ...] = ()

    def get(self, name: str, default: str = "") -> str:
        """The value of a tag as it stands."""
        return self.values.get(name, default)


def read_tags(record: str) -> Tags:
    """Take a record apart. What cannot be read is told and left out."""
    values, problems = dict[str, str](), list[str]()
    for part in filter(None, (part.strip() for part in record.split(";"))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not _NAME.fullmatch(name):
            problems.append(f"“{part}” is no tag with a value")
        elif name.lower() in values:
            problems.append(f"the tag {name} stands there twice")
        else:
            values[name.lower()] = value
    return Tags(values, tuple(problems))


def of_version(records: Sequence[str], version: str) -> list[str]:
    """The records that begin with `v=` and this version; others at the same name mean something else."""
    return [record for record in records if re.match(rf"v\s*=\s*{version}\s*(;|\Z)", record)]
