"""`--expect`: how many people a campaign is for, and what `--watch` says of one that is for another number."""

from __future__ import annotations

import re

import click

from mailer.audience.bounds import MOST, Bounds
from mailer.cli.answers import Json
from mailer.cli.failures import Failure
from mailer.cli.output import printable

NO_RECIPIENTS = "no-recipients"  # the code of a campaign's warning

HOW = "such as 200, 150..250, 150.. or ..250"
_BOUNDS = re.compile(r"(?P<exactly>[0-9]{1,10})|(?P<least>[0-9]{0,10})\.\.(?P<most>[0-9]{0,10})", re.ASCII)


class Unexpected(Failure):
    """The campaign was accepted, and it is for another number of people than was expected. Nothing was sent."""

    exit_code = 7


def expected(_context: click.Context, _option: click.Parameter, given: str | None) -> Json:
    """The callback of the option: the bounds as fields of a campaign. Empty: none were given."""
    if given is None:
        return {}
    found = _BOUNDS.fullmatch(given.strip())
    least, most = (found["exactly"] or found["least"], found["exactly"] or found["most"]) if found else ("", "")
    named = {"minRecipients": least, "maxRecipients": most}
    fields = {name: int(text) for name, text in named.items() if text}
    if not fields or max(fields.values()) > MOST or fields.get("minRecipients", 0) > fields.get("maxRecipients", MOST):
        raise click.BadParameter(f"{given!r} is not {HOW}")
    return fields


def refuse_unexpected(campaign: Json) -> None:
    """Raise `Unexpected` for a campaign that waits for a person by its number, or that was for nobody."""
    bounds = Bounds(campaign.get("minRecipients"), campaign.get("maxRecipients"))
    number, untouched = campaign["planned"], campaign["pending"] == campaign["planned"]
    if campaign["state"] == "paused" and untouched and campaign.get("startedAt") and not bounds.contain(number):
        raise Unexpected(f"the campaign is paused: {printable(campaign['reason'])}")
    codes = campaign.get("warningCodes")  # an older service tells none, and warns of nothing else
    warned = bool(campaign.get("warnings")) if codes is None else NO_RECIPIENTS in codes
    if campaign["state"] == "completed" and not number and warned:
        raise Unexpected("the campaign was for nobody")
