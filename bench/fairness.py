"""Part 11: what a small campaign waits for behind a large one, and what that costs the large one."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path

import requests
from sqlalchemy import update

from bench import directory, newsletter
from bench.contestants import postfix_tool
from bench.figures import Figure, Part, Ratio
from bench.processes import smtp_sink
from bench.scale import Bench
from bench.service import Service, Unfinished, serving
from mailer.campaigns.progress import progress
from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.models import Campaign, CampaignState

TITLE = "11. Ten people behind everybody, at 100 messages a second"
RATE = 100
LOOK_SECONDS = 0.02
SECONDS = 60.0
FEW = json.dumps({"_id": {"$in": [person.id for person in newsletter.people(10)]}})


def measure(bench: Bench, big: Path) -> Part:
    """One large campaign runs; a small one is posted once a round."""
    sink = postfix_tool("smtp-sink")
    if sink is None:
        return Part("fairness", TITLE, notes=("Left out: there is no smtp-sink (Debian: postfix).",))
    database = directory.copy(big, bench.work / "fairness")
    _forget_campaigns(database)
    with (
        smtp_sink(sink, bench.work) as port,
        serving(database, processes=2, transport=f"smtp://127.0.0.1:{port}?rate={RATE}/second") as service,
        closing(database_at(directory.url_of(database))) as db,
    ):
        headers = service.headers()
        large = _post(service, headers)
        _until(db, large, 1)
        rounds = [_round(service, db, headers, large, bench.scale.window) for _ in range(bench.scale.rounds)]
        planned = progress(db, large).planned
    alone, beside, first, last = zip(*rounds, strict=True)
    figures = (
        Figure("the large one, alone", "messages/s", alone),
        Figure("the large one, with a small one in between", "messages/s", beside),
        Figure("the small one: to its first outcome on record", "s", first),
        Figure("the small one: to its last", "s", last),
    )
    ratios = (
        Ratio("seconds to the first of the ten", figures[2].median, 2.0, at_most=True),
        Ratio("messages/s of the large one: with a small one / alone", figures[1].median / figures[0].median, 0.95),
    )
    notes = (f"Two processes, SQLite, a campaign to {planned:,} people; each rate over {bench.scale.window:g} s.",)
    return Part("fairness", TITLE, ratios, figures, notes)


def _forget_campaigns(database: Path) -> None:
    """Cancel what the part about accepting has left open there: its campaigns would have turns too."""
    with closing(database_at(directory.url_of(database))) as db, db.write() as connection:
        connection.execute(update(Campaign).values(state=CampaignState.CANCELLED))


def _round(
    service: Service, db: Database, headers: dict[str, str], large: str, window: float
) -> tuple[float, float, float, float]:
    alone = _rate(db, large, window, time.monotonic(), progress(db, large).sent)
    begun, before = time.monotonic(), progress(db, large).sent
    small = _post(service, headers, query=FEW)
    first = _until(db, small, 1) - begun
    last = _until(db, small, 10) - begun
    return alone, _rate(db, large, window, begun, before), first, last


def _post(service: Service, headers: dict[str, str], **changes: str) -> str:
    payload = newsletter.payload(**changes)
    answer = requests.post(f"{service.url}/api/v1/mailer", json=payload, headers=headers, timeout=60)
    answer.raise_for_status()
    return answer.headers["Location"].rpartition("/")[2]


def _until(db: Database, campaign_id: str, sent: int) -> float:
    """When so many of it were on record as sent."""
    ends = time.monotonic() + SECONDS
    while (now := progress(db, campaign_id)).sent < sent:
        if time.monotonic() > ends:
            raise Unfinished(f"{now.state}, {now.sent} of {now.planned} sent")
        time.sleep(LOOK_SECONDS)
    return time.monotonic()


def _rate(db: Database, campaign_id: str, window: float, begun: float, before: int) -> float:
    """Messages a second since `begun`, once the window is over."""
    time.sleep(max(0.0, begun + window - time.monotonic()))
    return (progress(db, campaign_id).sent - before) / (time.monotonic() - begun)
