"""Promises under fire: real processes, real SIGKILL, and a server that keeps what it acknowledged."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from sqlalchemy import insert, select, update

from mailer.callers.tokens import Tokens
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft
from mailer.campaigns.invariants import examine
from mailer.campaigns.progress import Progress, progress
from mailer.selector import database_at
from mailer.settings import Settings
from mailer.storage.models import Batch, Campaign, CampaignState, Delivery, User
from tests.conftest import altered, user_row
from tests.databases import migrated_sqlite
from tests.drills import rounds
from tests.killable import Trap, WebServer, Worker, attempts, settings_for
from tests.recording_smtp import Fault, RecordingServer, recording_smtp
from tests.service import BIN, END_STATES, PAYLOAD, ROOT

pytestmark = pytest.mark.slow

DRAFT = Draft("News", "news@example.com", "Hi [fname]", "Hello [name] [unsubscribe]", {}, False)
POSTS = rounds(20, 200)
RECIPIENTS = rounds(800, 5000)  # of the drills that kill at random
SLOW = Fault("DOT", "250 2.0.0 kept", delay=0.01, keep=True)


class Campaigns:
    """A database with users, and one campaign or more in it."""

    def __init__(self, settings: Settings, users: int) -> None:
        self.db = database_at(settings.database_url)
        self.users = [user_row(number) for number in range(users)]
        with self.db.write() as connection:
            connection.execute(insert(User), self.users)

    def accept(self) -> str:
        return accept(self.db, "user00000", DRAFT).campaign_id

    def headers(self) -> dict[str, str]:
        return {"X-User-Id": "user00000", "X-Auth-Token": Tokens(self.db).create("user00000", ("send-mail",))}

    def progress(self, campaign_id: str) -> Progress:
        """The campaign now; the invariants hold at every look."""
        assert examine(self.db) == []
        now = progress(self.db, campaign_id)
        assert now.pending >= 0
        return now

    def finish(self, campaign_id: str, seconds: float = 60) -> Progress:
        for _ in attempts(seconds, pause=0.05):
            now = self.progress(campaign_id)
            if now.state in END_STATES:
                return now
        raise AssertionError(f"not finished within {seconds} s: {now}")

    def lapse_planning(self) -> None:
        """As if the lease of whoever was planning were over."""
        with self.db.write() as connection:
            connection.execute(update(Campaign).where(Campaign.state == CampaignState.PLANNING).values(due_at=0))

    def doubtful(self) -> dict[str, int]:
        """By address, how many uncertain attempts are on record where there are any."""
        query = select(Delivery.user_id, Delivery.uncertain_attempts).where(Delivery.uncertain_attempts > 0)
        with self.db.read() as connection:
            return {f"{user_id}@example.com": count for user_id, count in connection.execute(query)}

    def resting_uncertain(self) -> set[str]:
        with self.db.read() as connection:
            found = connection.scalars(select(Delivery.user_id).where(Delivery.status == "uncertain"))
            return {f"{user_id}@example.com" for user_id in found}


@contextmanager
def prepared(settings: Settings, users: int) -> Iterator[Campaigns]:
    made = Campaigns(settings, users)
    try:
        yield made
    finally:
        made.db.close()


def extra_copies(server: RecordingServer) -> int:
    """How many copies there are beyond the first; all copies of a message have its Message-ID."""
    kept = server.kept()
    assert len({(message.recipient, message.message_id) for message in kept}) == len(server.copies())
    assert len({message.message_id for message in kept}) == len(server.copies())
    return len(kept) - len(server.copies())


# 30 recipients in batches of 10, checkpoints of 4, one connection: how many may have arrived twice, and are in doubt
STEPS = [
    (Trap("_claim_campaign", "before"), 0, 0),
    (Trap("_claim_campaign", "after"), 0, 0),
    (Trap("plan_next", "before"), 0, 0),
    (Trap("plan_next", "after"), 0, 0),
    (Trap("claim", "before"), 0, 0),
    (Trap("claim", "after"), 0, 0),
    (Trap("checkpoint", "before"), 0, 0),
    (Trap("checkpoint", "after"), 0, 0),
    (Trap("hand over", "before", 1), 0, 1),
    (Trap("hand over", "before", 3), 1, 2),
    (Trap("outcome", "after", 1), 2, 2),
    (Trap("outcome", "after", 4), 1, 1),
    (Trap("checkpoint", "before", 2), 0, 0),
    (Trap("checkpoint", "after", 2), 0, 0),
    (Trap("release", "before"), 0, 0),
    (Trap("release", "after"), 0, 0),
    (Trap("release", "before", 3), 0, 0),
    (Trap("release", "after", 3), 0, 0),
]
AHEAD = 2  # messages that a connection has at most between being drawn and having an outcome
IN_HAND = 4 * AHEAD  # of a process with one thread and the usual number of connections
LONG_LEASE = 60  # seconds; whoever waited for it would not finish in time


# with more connections it is chance how far the others are, within the same bound for each
STEPS_AND_CONNECTIONS = [(*step, 1) for step in STEPS] + [(*step, 3) for step in STEPS if step[2]]


@pytest.mark.parametrize(("trap", "twice", "doubtful", "connections"), STEPS_AND_CONNECTIONS, ids=str)
def test_kill_at_a_step_costs_no_more_than_what_was_in_hand(
    tmp_path: Path, trap: Trap, twice: int, doubtful: int, connections: int
) -> None:
    kill_at(trap, tmp_path, twice, doubtful, connections=connections)


@pytest.mark.parametrize(("trap", "twice", "doubtful"), STEPS[3::4], ids=str)  # a sample: each takes seconds
def test_kill_at_a_step_costs_no_more_on_postgresql(
    tmp_path: Path, postgresql_url: str, trap: Trap, twice: int, doubtful: int
) -> None:
    kill_at(trap, tmp_path, twice, doubtful, connections=1, database_url=postgresql_url)


def kill_at(trap: Trap, tmp_path: Path, twice: int, doubtful: int, *, connections: int, **changes: str) -> None:
    with recording_smtp(tmp_path) as server:
        url, checkpoint = f"{server.url}?connections={connections}", 4 if connections == 1 else 10
        settings = settings_for(
            tmp_path, url, batch_size=10, checkpoint=checkpoint, lease_seconds=LONG_LEASE, **changes
        )
        with prepared(settings, 30) as made:
            campaign_id = made.accept()
            with Worker(settings, trap) as doomed:
                assert doomed.wait() == -signal.SIGKILL
            assert examine(made.db) == []
            made.lapse_planning()
            with Worker(settings):
                end = made.finish(campaign_id, LONG_LEASE / 2)
            assert (end.state, end.sent) == ("completed", 30)
            assert len(server.copies()) == 30
            assert extra_copies(server) <= (twice if connections == 1 else AHEAD * connections)
            assert len(made.doubtful()) <= (doubtful if connections == 1 else AHEAD * connections)


@pytest.mark.parametrize("trap", [step[0] for step in STEPS[8:13]], ids=str)
def test_kill_at_a_step_leaves_exactly_one_file_each(tmp_path: Path, trap: Trap) -> None:
    settings = settings_for(tmp_path, f"file:{tmp_path}/mail", batch_size=10, checkpoint=4)
    with prepared(settings, 30) as made:
        campaign_id = made.accept()
        with Worker(settings, trap) as doomed:
            assert doomed.wait() == -signal.SIGKILL
        with Worker(settings):
            assert made.finish(campaign_id).sent == 30
    assert len(list((tmp_path / "mail").glob("*.eml"))) == 30


@pytest.mark.ci
@pytest.mark.drill
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_workers_killed_at_random_lose_nobody(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    luck = random.Random(kind)
    changes = {"database_url": request.getfixturevalue("postgresql_url")} if kind == "postgresql" else {}
    with recording_smtp(tmp_path) as server:
        settings = settings_for(tmp_path, server.url, lease_seconds=LONG_LEASE, **changes)
        with prepared(settings, RECIPIENTS) as made:
            campaign_id, kills = made.accept(), 0
            workers = [Worker(settings), Worker(settings)]
            server.wait_for(1)  # it is planned
            while made.progress(campaign_id).state not in END_STATES and kills < rounds(60, 300):
                time.sleep(luck.uniform(0.05, 0.4))
                workers.pop(luck.randrange(2)).kill()
                workers.append(Worker(settings))
                kills += 1
            end = made.finish(campaign_id)
            for worker in workers:
                worker.kill()
            copies, uncertain = server.copies(), made.resting_uncertain()
            everyone = {str(user["email"]) for user in made.users}
            assert kills >= 5
            assert end.sent + end.uncertain == end.planned == RECIPIENTS
            assert everyone - set(copies) <= uncertain
            assert extra_copies(server) <= len(made.doubtful()) <= kills * IN_HAND
            assert max(copies.values()) <= 2
            assert {address for address, count in copies.items() if count > 1} <= set(made.doubtful())


@pytest.mark.ci
@pytest.mark.drill
def test_all_killed_again_and_again_reach_all_but_who_was_in_hand_twice(tmp_path: Path) -> None:
    luck = random.Random(14)
    people, kills = rounds(300, 2000), rounds(6, 40)
    with recording_smtp(tmp_path, SLOW) as server:
        # a slow machine loses three processes in a row over one batch, and then its lease has to run out
        settings = settings_for(tmp_path, server.url, checkpoint=50, lease_seconds=LONG_LEASE // 4)
        with prepared(settings, people) as made:
            campaign_id = made.accept()
            for kill in range(kills):
                workers = [Worker(settings), Worker(settings)]
                server.wait_for(len(server.kept()) + 1)
                time.sleep(luck.uniform(0, 0.6 * people / kills * SLOW.delay / IN_HAND))
                for worker in workers:
                    worker.kill()
                assert made.progress(campaign_id).state == "running", kill
            with Worker(settings):
                end = made.finish(campaign_id)
            copies, doubtful, uncertain = server.copies(), made.doubtful(), made.resting_uncertain()
            assert (end.sent + end.uncertain, len(uncertain)) == (people, end.uncertain)
            assert len(doubtful) <= kills * 2 * IN_HAND
            assert {address for address, count in doubtful.items() if count == 2} >= uncertain
            assert {str(user["email"]) for user in made.users} - set(copies) <= uncertain
            assert {address for address, count in copies.items() if count > 1} <= set(doubtful)
            assert max(copies.values()) <= 2


def test_kill_while_one_connection_waits_leaves_what_the_others_have_sent_out_of_doubt(tmp_path: Path) -> None:
    stuck = Fault("DOT", "250 2.0.0 kept", recipient="user00030@example.com", times=1, delay=20, keep=True)
    with recording_smtp(tmp_path, stuck) as server:
        settings = settings_for(tmp_path, server.url, checkpoint=50, lease_seconds=LONG_LEASE)
        with prepared(settings, 100) as made:
            campaign_id = made.accept()
            with Worker(settings) as killed:
                server.wait_for(2 * IN_HAND)
                time.sleep(2.0)  # one connection waits, and the others have had time for all they may draw
                killed.kill()
            with Worker(settings):
                assert made.finish(campaign_id, LONG_LEASE / 2).sent == 100
            assert "user00030@example.com" in made.doubtful()
            assert extra_copies(server) <= len(made.doubtful()) <= IN_HAND


def test_batch_of_a_worker_that_was_killed_goes_on_within_seconds(tmp_path: Path) -> None:
    with recording_smtp(tmp_path, SLOW) as server:
        url = f"{server.url}?connections=1"
        settings = settings_for(tmp_path, url, batch_size=600, checkpoint=50, lease_seconds=LONG_LEASE)
        with prepared(settings, 600) as made, Worker(settings) as killed:
            campaign_id = made.accept()
            server.wait_for(10)
            with Worker(settings):
                for _ in attempts(20):
                    if len(list(tmp_path.glob("flight/*/*"))) == 2:  # both are there, and one has nothing to do
                        break
                kept, died = len(server.kept()), time.monotonic()
                killed.kill()
                server.wait_for(kept + 2 * AHEAD)
                assert time.monotonic() - died < LONG_LEASE / 6
                assert made.finish(campaign_id, LONG_LEASE / 2).sent == 600
            assert 0 < len(made.doubtful()) <= AHEAD


@pytest.mark.drill
def test_each_of_many_posts_finishes_though_all_is_killed_at_its_200(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, f"file:{tmp_path}/mail", rate_limit="")
    with prepared(settings, 3) as made:
        headers = made.headers()
        for _ in range(POSTS):
            with WebServer(settings) as server:
                answer = requests.post(f"{server.url}/api/v1/mailer", json=PAYLOAD, headers=headers, timeout=20)
                server.kill()
                assert answer.json() == {"success": True}
        with made.db.read() as connection:
            accepted = connection.scalars(select(Campaign.id)).all()
        assert len(accepted) == POSTS
        with Worker(settings):
            ends = [made.finish(campaign_id) for campaign_id in accepted]
        assert sum(end.sent + end.uncertain for end in ends) == 3 * POSTS
        files = Counter(path.name.partition(".")[0] for path in (tmp_path / "mail").glob("*.eml"))
        assert all(end.sent <= files[end.id] <= 3 for end in ends)


@pytest.mark.parametrize(("moment", "committed"), [("before", 0), ("after", 1)])
def test_post_repeated_after_a_kill_at_its_commit_is_one_campaign(tmp_path: Path, moment: str, committed: int) -> None:
    settings = settings_for(tmp_path, f"file:{tmp_path}/mail")
    with prepared(settings, 3) as made:
        headers = {**made.headers(), "Idempotency-Key": "one and the same"}

        def post(server: WebServer) -> requests.Response:
            return requests.post(f"{server.url}/api/v1/mailer", json=PAYLOAD, headers=headers, timeout=20)

        with WebServer(settings, trap=Trap("accept", moment)) as doomed, pytest.raises(requests.ConnectionError):
            post(doomed)
        with made.db.read() as connection:
            assert len(connection.scalars(select(Campaign.id)).all()) == committed
        with WebServer(settings) as server:
            answer = post(server)
            assert (answer.status_code, answer.json()) == (200, {"success": True})
            assert made.finish(answer.headers["Location"].rpartition("/")[2]).planned == 3
        with made.db.read() as connection:
            assert len(connection.scalars(select(Campaign.id)).all()) == 1


@pytest.mark.drill
def test_gunicorn_workers_killed_and_recycled_lose_nobody(tmp_path: Path) -> None:
    luck = random.Random(4)
    with recording_smtp(tmp_path) as server:
        settings = settings_for(tmp_path, server.url, lease_seconds=LONG_LEASE)
        with prepared(settings, RECIPIENTS) as made, WebServer(settings, workers=3) as web:
            headers = made.headers()
            answer = requests.post(f"{web.url}/api/v1/mailer", json=PAYLOAD, headers=headers, timeout=20)
            campaign_id, kills = answer.headers["Location"].rpartition("/")[2], 0
            server.wait_for(1)  # it is planned
            while made.progress(campaign_id).state not in END_STATES and kills < 12:
                time.sleep(luck.uniform(0.1, 0.4))
                victim = luck.choice(web.workers() or [0])
                if victim:
                    subprocess.run(["kill", "-KILL", str(victim)], check=False, capture_output=True)
                    kills += 1
                if kills % 4 == 3:
                    subprocess.run(["kill", "-HUP", str(web.process.pid)], check=True)
            end = made.finish(campaign_id)
            assert kills >= 3
            assert end.sent + end.uncertain == RECIPIENTS
            assert {str(user["email"]) for user in made.users} - set(server.copies()) <= made.resting_uncertain()
            assert extra_copies(server) <= len(made.doubtful()) <= kills * IN_HAND


def test_worker_frozen_for_three_leases_sends_and_writes_nothing_more(tmp_path: Path) -> None:
    with recording_smtp(tmp_path, SLOW) as server:
        settings = settings_for(tmp_path, server.url, checkpoint=50)
        with prepared(settings, 150) as made:
            campaign_id = made.accept()
            with Worker(settings) as frozen:
                server.wait_for(20)
                frozen.signal(signal.SIGSTOP)
                time.sleep(3 * settings.lease_seconds)
                with Worker(settings):
                    end = made.finish(campaign_id)
                doubtful, before = made.doubtful(), extra_copies(server)
                frozen.signal(signal.SIGCONT)
                time.sleep(1.0)
                after = extra_copies(server)
            assert (end.state, end.sent) == ("completed", 150)
            assert made.progress(campaign_id) == end
            assert made.doubtful() == doubtful
            assert len(doubtful) == 50
            assert after - before <= 2  # what was on the wire already cannot be called back
            assert {address for address, count in server.copies().items() if count > 1} <= set(doubtful)


def test_workers_whose_clocks_are_apart_leave_each_others_batches_alone(tmp_path: Path, postgresql_url: str) -> None:
    with recording_smtp(tmp_path, SLOW) as server:
        settings = settings_for(tmp_path, server.url, database_url=postgresql_url, batch_size=300, lease_seconds=30)
        with prepared(settings, 300) as made:
            campaign_id = made.accept()
            with Worker(settings):
                server.wait_for(20)
                with Worker(settings, fast=3600), Worker(settings, fast=-3600):
                    end = made.finish(campaign_id)
            assert (end.state, end.sent) == ("completed", 300)
            assert (extra_copies(server), made.doubtful()) == (0, {})


@pytest.mark.parametrize("times", [1, 2])
def test_sigterm_leaves_nothing_uncertain(tmp_path: Path, times: int) -> None:
    with recording_smtp(tmp_path, SLOW) as server:
        settings = settings_for(tmp_path, server.url, checkpoint=50, lease_seconds=30)
        with prepared(settings, 300) as made:
            headers = made.headers()
            with WebServer(settings, workers=2) as web:
                requests.post(f"{web.url}/api/v1/mailer", json=PAYLOAD, headers=headers, timeout=20)
                server.wait_for(10)
                for _ in range(times):
                    subprocess.run(["kill", "-TERM", str(web.process.pid)], check=True)
                    time.sleep(0.1)
                web.process.join(30)
                assert web.process.exitcode == 0
            with made.db.read() as connection:
                campaign_id = connection.scalar(select(Campaign.id))
                attempting = connection.scalars(select(Batch.attempting)).all()
            assert campaign_id is not None
            assert not any(attempting)
            assert 10 <= made.progress(campaign_id).sent < 300
            with Worker(settings):
                assert made.finish(campaign_id).sent == 300
            assert (extra_copies(server), made.doubtful()) == (0, {})


def test_command_line_worker_ends_with_its_checkpoint(tmp_path: Path) -> None:
    with recording_smtp(tmp_path, SLOW) as server:
        settings = settings_for(tmp_path, server.url)
        with prepared(settings, 200) as made:
            campaign_id = made.accept()
            named = {"MAILER_DATABASE_URL": settings.database_url, "MAILER_TRANSPORT": server.url}
            named |= {"MAILER_SECRET_KEY": "k" * 40, "MAILER_CHECKPOINT": "10", "PATH": "/usr/bin:/bin"}
            with (tmp_path / "worker.out").open("wb") as output:
                worker = subprocess.Popen([BIN / "mailer", "worker"], cwd=ROOT, env=named, stdout=output, stderr=output)
            server.wait_for(10)
            for _ in range(2):
                worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0, (tmp_path / "worker.out").read_text()
            assert 10 <= made.progress(campaign_id).sent < 200
            with Worker(settings):
                assert made.finish(campaign_id).sent == 200
            assert extra_copies(server) == 0


@pytest.mark.parametrize("busy", [0.5, 30.0], ids=["given up and tried again", "waited for"])
def test_locked_database_loses_nothing_and_doubles_nothing(tmp_path: Path, busy: float) -> None:
    with recording_smtp(tmp_path, SLOW) as server:
        url = migrated_sqlite(tmp_path / "mailer.db")
        settings = settings_for(tmp_path, server.url, database_url=url, lease_seconds=2)
        with prepared(settings, 150) as made, WebServer(settings, busy=busy) as web:
            headers = made.headers()
            requests.post(f"{web.url}/api/v1/mailer", json=PAYLOAD, headers=headers, timeout=20)
            server.wait_for(20)
            with locked(tmp_path / "mailer.db"):
                if busy < 1:
                    refused = requests.post(f"{web.url}/api/v1/mailer", json=PAYLOAD, headers=headers, timeout=20)
                    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
                    assert refused.json()["errorType"] == "error-database-unavailable"
                time.sleep(1.5 * settings.lease_seconds)
            with made.db.read() as connection:
                (campaign_id,) = connection.scalars(select(Campaign.id)).all()
            assert made.finish(campaign_id).sent == 150
            assert (extra_copies(server), made.doubtful()) == (0, {})


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """SQLite's one write lock, taken."""
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        lock.rollback()
        lock.close()


@pytest.mark.parametrize("trouble", ["ALLOW_CONNECTIONS false", "SET default_transaction_read_only = on"])
def test_postgresql_in_trouble_loses_nothing_and_doubles_nothing(
    tmp_path: Path, postgresql_url: str, trouble: str
) -> None:
    with recording_smtp(tmp_path, SLOW) as server:
        settings = settings_for(tmp_path, server.url, database_url=postgresql_url, lease_seconds=2)
        with prepared(settings, 150) as made, WebServer(settings) as web:
            headers = made.headers()
            requests.post(f"{web.url}/api/v1/mailer", json=PAYLOAD, headers=headers, timeout=20)
            server.wait_for(20)
            with altered(postgresql_url, trouble):
                refused = requests.post(f"{web.url}/api/v1/mailer", json=PAYLOAD, headers=headers, timeout=20)
                time.sleep(2 * settings.lease_seconds)
            assert (refused.status_code, refused.headers.get("Retry-After")) == (503, "5")
            with made.db.read() as connection:
                (campaign_id,) = connection.scalars(select(Campaign.id)).all()
            assert made.finish(campaign_id).sent == 150
            assert (extra_copies(server), made.doubtful()) == (0, {})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB: the empty database has half of one, and what is written while it is sent another."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount a small file system here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)  # the killed may not be gone yet


def test_full_disk_refuses_posts_and_sends_on_when_there_is_room(tmp_path: Path, small_disk: Path) -> None:
    with recording_smtp(tmp_path, SLOW) as server:
        url = migrated_sqlite(small_disk / "mailer.db")
        settings = settings_for(small_disk, server.url, database_url=url, lease_seconds=2)
        with prepared(settings, 100) as made, WebServer(settings) as web:
            headers = made.headers()
            requests.post(f"{web.url}/api/v1/mailer", json=PAYLOAD, headers=headers, timeout=20)
            server.wait_for(20)
            ballast = small_disk / "ballast"
            with pytest.raises(OSError, match="No space"):
                fill(ballast)
            answers = {post_large(web, headers).status_code for _ in range(3)}
            sent_when_full = standstill(server)
            ballast.unlink()
            assert answers == {503}
            assert 20 <= sent_when_full < 100  # a checkpoint could not be recorded
            with made.db.read() as connection:
                (campaign_id,) = connection.scalars(select(Campaign.id)).all()
            assert made.finish(campaign_id).sent == 100
            assert (extra_copies(server), made.doubtful()) == (0, {})


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 512)


def standstill(server: RecordingServer) -> int:
    """How many messages the server has kept, once there are no more for a second."""
    counts = [-1]
    for _ in attempts(20, pause=1.0):
        counts.append(len(server.kept()))
        if counts[-1] == counts[-2]:
            return counts[-1]
    raise AssertionError(f"messages keep coming: {counts}")


def post_large(web: WebServer, headers: dict[str, str]) -> requests.Response:
    payload = {**PAYLOAD, "body": "[unsubscribe]" + "x" * 200_000}
    return requests.post(f"{web.url}/api/v1/mailer", json=payload, headers=headers, timeout=20)


def test_fifty_posts_at_once_with_one_key_are_one_campaign(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, f"file:{tmp_path}/mail", rate_limit="")
    with prepared(settings, 3) as made, WebServer(settings, workers=2) as web:
        headers = {**made.headers(), "Idempotency-Key": "fifty"}
        answers: list[requests.Response] = []

        def post() -> None:
            answers.append(requests.post(f"{web.url}/api/v1/mailer", json=PAYLOAD, headers=headers, timeout=60))

        threads = [threading.Thread(target=post) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {answer.status_code for answer in answers} == {200}
        (location,) = {answer.headers["Location"] for answer in answers}
        assert made.finish(location.rpartition("/")[2]).sent == 3
    assert len(list((tmp_path / "mail").glob("*.eml"))) == 3
