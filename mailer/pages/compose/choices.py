"""What the form of the query offers: the fields that the directory really has, their values and counts. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flask_babel import gettext

from mailer.audience.field_values import CUSTOM, Counted, FieldValues, Value
from mailer.pages.compose.query_form import DOMAINS, LANGUAGE, ROLES, QueryForm


@dataclass(frozen=True, slots=True)
class Option:
    """One value that can be ticked. `value` is JSON. `count` None: nobody was seen who has it."""

    value: str
    label: str
    count: int | None
    ticked: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """A field with its options. Another value can be typed."""

    field: str
    label: str
    options: tuple[Option, ...]

    @property
    def is_of_numbers(self) -> bool:
        """Whether all its values are numbers, so that what is typed is one as well."""
        values = [json.loads(option.value) for option in self.options]
        return bool(values) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)

    @property
    def ticked(self) -> int:
        """How many of the options are."""
        return sum(option.ticked for option in self.options)


def choices(known: FieldValues, form: QueryForm) -> tuple[Choice, ...]:
    """The fields in a fixed order, custom ones last; also those of `form` that no user has."""
    offered: dict[str, Counted] = {ROLES: known.roles, LANGUAGE: known.languages, DOMAINS: known.domains}
    offered |= dict(known.custom_fields)
    fields = [*offered, *(field for field in form.chosen if field not in offered)]
    labels = {ROLES: gettext("Role"), LANGUAGE: gettext("Language"), DOMAINS: gettext("E-mail domain")}
    return tuple(_choice(field, labels, offered.get(field, ()), form.chosen.get(field, ())) for field in fields)


def _choice(field: str, labels: Mapping[str, str], counted: Counted, chosen: tuple[Value, ...]) -> Choice:
    return Choice(field, labels.get(field) or field.removeprefix(CUSTOM), tuple(_options(counted, chosen)))


def _options(counted: Counted, chosen: tuple[Value, ...]) -> Iterator[Option]:
    ticked = {json.dumps(value) for value in chosen}
    for value, count in counted:
        written = json.dumps(value)
        yield Option(written, _shown(value), count, written in ticked)
        ticked.discard(written)
    for value in chosen:
        if json.dumps(value) in ticked:
            yield Option(json.dumps(value), _shown(value), None, ticked=True)


def _shown(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value)
