"""Who receives a campaign: the options that `mailer send`, `audience` and `preview` take for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from mailer.cli.options import query_text
from mailer.storage.models import DeliveryStatus

OUTCOMES = "Default: sent,uncertain."


def _earlier(_context: click.Context, _option: click.Parameter, given: str | None) -> dict[str, Any] | None:
    """`ID` or `ID:outcome,outcome`, as the service takes it."""
    if given is None:
        return None
    campaign_id, colon, outcomes = given.strip().partition(":")
    if not campaign_id:
        raise click.BadParameter("names no campaign")
    named = [one.strip() for one in outcomes.split(",")]
    if colon and (unknown := [one for one in named if one not in list(DeliveryStatus)]):
        raise click.BadParameter(f"{unknown[0]!r} is no outcome; there are {', '.join(DeliveryStatus)}")
    return {"campaign": campaign_id, **({"outcomes": named} if colon else {})}


def whom_options(query_help: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options; it takes them together as `whom`, the fields of a campaign that were given."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def taking_whom(query: str | None, reached: Any, not_reached: Any, **options: Any) -> None:
            given = {"query": query, "reached": reached, "notReached": not_reached}
            command(whom={name: value for name, value in given.items() if value is not None}, **options)

        taking: Callable[..., None] = taking_whom
        about = "who had this campaign, or has one of these outcomes in it."
        for option in (
            _option("--not-reached", f"Nobody {about} {OUTCOMES}"),
            _option("--reached", f"Only {about} {OUTCOMES}"),
            click.option("--query", callback=query_text, help=query_help),
        ):
            taking = option(taking)
        return taking

    return decorate


def _option(name: str, about: str) -> Callable[..., Any]:
    return click.option(name, metavar="ID[:OUTCOME,…]", callback=_earlier, help=about)
