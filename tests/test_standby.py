"""The primary is lost and a synchronous standby takes its place, in the middle of campaigns: the promises hold."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import pytest
import requests
from sqlalchemy import select

from mailer.campaigns.invariants import examine
from mailer.selector import database_at
from mailer.storage.models import Campaign
from tests.drills import rounds
from tests.killable import WebServer, Worker, attempts, settings_for
from tests.postgresql_servers import Server, servers
from tests.recording_smtp import Fault, recording_smtp
from tests.service import PAYLOAD
from tests.test_crash import prepared

pytestmark = pytest.mark.slow

EVERYBODY = rounds(60, 2000)
SLOW = Fault("DOT", "250 OK", keep=True, delay=0.02)


class Poster(threading.Thread):
    """Posts one campaign after the other until it is told to end; `accepted` are those that were answered with 200."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self._url, self._headers = url, headers
        self.accepted: list[str] = []
        self.ending = threading.Event()

    def run(self) -> None:
        """Post a dry run, which sends one message, again and again."""
        number = 0
        while not self.ending.wait(0.02):
            number += 1
            payload = {**PAYLOAD, "dryrun": True, "from": "user00000@example.com", "subject": str(number)}
            with suppress(requests.RequestException):
                answer = requests.post(f"{self._url}/api/v1/mailer", json=payload, headers=self._headers, timeout=60)
                if answer.status_code == 200:
                    self.accepted.append(answer.headers["Location"].rpartition("/")[2])


def replicate(primary: Server, standby: Server) -> str:
    """Start both, and return the address of whichever of them takes writes; a commit waits for the standby."""
    primary.initialise()
    primary.start()
    primary.execute("CREATE DATABASE mailer")
    standby.copy(primary, "second")
    standby.start()
    primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'second'")
    primary.execute("SELECT pg_reload_conf()")
    for _ in attempts(20, pause=0.05):
        if primary.execute("SELECT sync_state FROM pg_stat_replication") == [("sync",)]:
            break
    hosts = "&".join(f"host=127.0.0.1:{server.port}" for server in (primary, standby))
    return f"postgresql://root@/mailer?{hosts}&target_session_attrs=read-write"


@pytest.mark.drill
def test_promoted_standby_has_all_that_was_accepted_and_everybody_gets_it_once(tmp_path: Path) -> None:
    with servers(2) as (primary, standby), recording_smtp(tmp_path, SLOW) as mail:
        url = replicate(primary, standby)
        with closing(database_at(url)) as db:
            db.migrate()
        settings = settings_for(tmp_path, mail.url, database_url=url, lease_seconds=2, rate_limit="", batch_size=20)
        with prepared(settings, EVERYBODY) as made, WebServer(settings) as web, Worker(settings):
            poster = Poster(web.wait_until_up().url, made.headers())
            large = made.accept()
            poster.start()
            mail.wait_for(EVERYBODY // 4)
            for _ in attempts(60):  # some are accepted before the loss, however slow the machine is
                if poster.accepted:
                    break

            standby.kill()
            time.sleep(0.5)  # nothing is promised now: what the primary writes, the standby lacks
            primary.kill()
            standby.start()
            time.sleep(0.5)  # the service finds nobody who takes writes
            standby.promote()
            before = len(poster.accepted)
            for _ in attempts(60, pause=0.1):
                if len(poster.accepted) > before + 3:
                    break
            poster.ending.set()
            poster.join(60)

            assert len(poster.accepted) > before > 0  # nothing was started anew
            with made.db.read() as connection:
                kept = set(connection.scalars(select(Campaign.id)))
            assert set(poster.accepted) <= kept
            ends = {campaign_id: made.finish(campaign_id) for campaign_id in (large, *poster.accepted)}
            assert {end.sent + end.uncertain for end in ends.values()} == {1, EVERYBODY}
            assert examine(made.db) == []
            copies = Counter(kept.message_id for kept in mail.kept())
            missing = sum(end.uncertain for end in ends.values())
            assert len(poster.accepted) + EVERYBODY - missing <= len(copies) <= len(kept) + EVERYBODY
            assert max(copies.values()) <= 2
            assert sum(copies.values()) - len(copies) <= sum(made.doubtful().values()) <= 2 * settings.checkpoint
