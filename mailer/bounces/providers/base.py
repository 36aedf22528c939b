"""What every provider is: it proves that a request is genuine, and reads the reports in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mailer.bounces.report import Report
from mailer.errors import InvalidParams, NotLoggedIn
from mailer.files import strict_json


@dataclass(frozen=True, slots=True)
class Posted:
    """A request as it came, not yet believed.

    `headers` are by their names in small letters. `password` is that of HTTP Basic (RFC 7617), None without one.
    `now` is in ms since 1970.
    """

    body: bytes
    headers: Mapping[str, str]
    password: str | None
    now: int


class NotGenuine(NotLoggedIn):
    """The signature or the secret is missing or wrong: the request is not the provider's, or the setting is not."""

    text = "The signature or the secret is missing or wrong."


class Provider(ABC):
    """One provider. Its `name` is the last part of the path, and the source of its reports."""

    name: ClassVar[str]

    @abstractmethod
    def reports(self, posted: Posted) -> Sequence[Report]:
        """The reports in a genuine request; none: it tells nothing that matters here.

        Raises `NotGenuine`, `InvalidParams` for what cannot be read, and `ProviderUnavailable` if whoever has to be
        asked for the proof does not answer.
        """

    def recorded(self, posted: Posted) -> None:  # noqa: B027 - most have nothing to remember
        """Remember that what this request told is on record."""


def json_of(body: bytes) -> Any:
    """The body as JSON, whatever its Content-Type says: some providers call it text. Raises `InvalidParams`."""
    try:
        return strict_json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidParams("The body is not valid JSON.", field="body") from error
