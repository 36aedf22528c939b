"""How long small campaigns wait behind a large one that runs at a rate, and what they take from it.

python -m bench.turns postgresql://…/empty_database
python -m bench.turns sqlite:////tmp/empty.db --recipients 1000000 --rate 100

The large campaign is for all users of an empty database. Meanwhile ten callers post one for ten people each, every two
seconds. Each message is a file on the disk; its time is when it was there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench import directory, newsletter
from bench.million import CALLER, delivering
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft
from mailer.selector import database_at
from mailer.storage.database import Database

SMALL = 10  # campaigns, and people of each
EVERY_SECONDS = 2.0
BEGINNING_SECONDS = 20.0  # in which the large campaign runs alone


def main() -> None:
    """Read the options, measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.turns", description=__doc__)
    parser.add_argument("database", help="the URL of an empty database")
    parser.add_argument("--recipients", type=int, default=200_000)
    parser.add_argument("--rate", type=int, default=100, help="messages a second, of all together")
    parser.add_argument("--processes", type=int, default=2, help="how many deliver")
    options = parser.parse_args()
    db = database_at(options.database)
    if not db.migrate():
        sys.exit("the database is not empty")
    directory.fill(db, options.recipients)
    with tempfile.TemporaryDirectory(prefix="mailer-turns-") as folder:
        transport = f"file:{folder}?rate={options.rate}/second"
        with delivering(db, options.processes, transport):
            begun = _post(db, CALLER, "Large", {})
            time.sleep(BEGINNING_SECONDS)
            posted = {f"Small {n}": _post(db, f"caller{n}", f"Small {n}", _people(n)) for n in _in_time()}
            time.sleep(EVERY_SECONDS)
        show(dict(_arrivals(Path(folder))), begun, posted)
    db.close()


def show(arrived: dict[str, list[float]], begun: float, posted: dict[str, float]) -> None:
    """Print how long each small campaign waited, and how fast messages came before and beside them."""
    waited = sorted(min(arrived[one]) - at for one, at in posted.items())
    ended = sorted(max(arrived[one]) - at for one, at in posted.items())
    print(f"from the POST to the first message: median {median(waited):.2f} s, longest {waited[-1]:.2f} s")
    print(f"from the POST to the last of {SMALL}: median {median(ended):.2f} s, longest {ended[-1]:.2f} s")
    every = sorted(time for times in arrived.values() for time in times)
    first, last = min(posted.values()), max(posted.values()) + EVERY_SECONDS
    began = min(every)
    print(f"the large campaign began after {began - begun:.1f} s")
    print(f"before, all together: {_pace(every, began, first):.1f} a second")
    print(f"beside the small ones, all together: {_pace(every, first, last):.1f} a second")
    print(f"of these the large one: {_pace(arrived['Large'], first, last):.1f} a second")


def _pace(times: list[float], since: float, until: float) -> float:
    return sum(since <= time < until for time in times) / (until - since)


def _in_time() -> Iterator[int]:
    for number in range(SMALL):
        yield number
        time.sleep(EVERY_SECONDS)


def _people(number: int) -> dict[str, object]:
    """Ten users, by name."""
    everybody = newsletter.people(SMALL * (number + 1))
    return {"username": {"$in": [person.id for person in list(everybody)[-SMALL:]]}}


def _post(db: Database, caller: str, subject: str, query: dict[str, object]) -> float:
    """Accept a campaign; when it was on record (s since 1970)."""
    draft = Draft(newsletter.SENDER_NAME, newsletter.SENDER, subject, newsletter.payload()["body"], query, False)
    accept(db, caller, draft, None)
    return time.time()


def _arrivals(folder: Path) -> Iterator[tuple[str, list[float]]]:
    """The times (s since 1970) of the messages of each campaign, by its subject."""
    found: dict[str, list[float]] = {}
    for line in (folder / "index.ndjson").read_text("utf-8").splitlines():
        message = json.loads(line)
        found.setdefault(message["subject"], []).append(message["time"] / 1000)
    yield from found.items()


if __name__ == "__main__":
    main()
