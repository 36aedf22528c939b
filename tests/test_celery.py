"""The Celery engine past its contract: what it refuses, what it says, and real workers under fire."""

from __future__ import annotations

import logging
import os
import random
import re
import signal
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from kombu import Connection, Queue
from kombu.asynchronous import Hub

from app import build, create_app
from mailer.cli import main
from mailer.engines import engine_class
from mailer.engines.celery.application import TASK, make_application, queue_of
from mailer.engines.celery.doorbell import BrokerAway, Doorbell
from mailer.engines.celery.worker import make_controller
from mailer.errors import ConfigError
from mailer.settings import Settings
from mailer.storage.workers import Heartbeat, workers
from tests.bounce_examples import certificate, pem_files
from tests.celery_engine import RABBITMQ, REDIS, CeleryWorker, CutRabbitMQ, OwnRedis, own_queue
from tests.conftest import altered
from tests.drills import rounds
from tests.killable import attempts, settings_for
from tests.recording_smtp import Fault, RecordingServer, recording_smtp
from tests.service import PAYLOAD
from tests.test_crash import IN_HAND, Campaigns, extra_copies, prepared

POSTGRESQL = "postgresql://db.example.com/mailer"
BROKERS = {"rabbitmq": RABBITMQ, "redis": REDIS}
MANY = 20_000  # more than are sent before a busy machine has told all processes to end
RECIPIENTS = rounds(200, 2000)  # of each campaign
AWAY = rounds(3, 30)  # seconds without a database or a broker
SLOW = Fault("DOT", "250 2.0.0 kept", delay=0.01, keep=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"database_url": "sqlite:///mailer.db"}, "MAILER_ENGINE: celery needs PostgreSQL"),
        ({"broker_url": ""}, "MAILER_ENGINE: celery needs MAILER_BROKER_URL"),
        ({"slice_seconds": 601}, "MAILER_SLICE_SECONDS: 601 s is too long"),
        ({"slice_seconds": 31, "broker_timeout": 90}, "so 30 s is the longest"),
    ],
)
def test_what_cannot_work_does_not_start_and_makes_no_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    usual = {"database_url": POSTGRESQL, "broker_url": "redis://127.0.0.1", "secret_key": ("k" * 40,)}

    with pytest.raises(ConfigError, match=re.escape(words)):
        build(Settings(engine="celery", **{**usual, **changes}))

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["http://broker", "amqp://", "redis://[::1", "sqs://a", "redis://a:port"])
def test_broker_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("MAILER_BROKER_URL", url)

    with pytest.raises(ConfigError, match=r"MAILER_BROKER_URL: .*Not amqp"):
        Settings.from_env()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("amqp://me:hid/den@broker/there", "Not amqp"),
        ("amqp://me:hidden@x/word@broker/there", "not the URL of one broker"),
        ("amqp://me:hidden?word@broker/there", "Not amqp"),
        ("amqp://me:hidden@x?word@broker/there", "not the URL of one broker"),
        ("amqp://me:hidden@broker/;amqp://me:hidden@other/", "not the URL of one broker"),
        ("amqp://me:hidden@broker/there?hidden=1", "takes no options"),
        ("redis://:hidden@broker/0?visibility_timeout=5", "takes no options"),
        ("redis://broker/0?password=hidden", "takes no options"),
        ("rediss://:hidden@broker/0?ssl_cert_reqs=none&db=7", "takes no options"),
        ("redis://broker/hidden", "the number of a database"),
    ],
)
def test_broker_url_that_celery_would_read_otherwise_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    named = {"ENGINE": "celery", "DATABASE_URL": POSTGRESQL, "SECRET_KEY": "k" * 40, "BROKER_URL": url}

    refused = CliRunner(env={f"MAILER_{name}": text for name, text in named.items()}).invoke(main, ["worker"])

    assert refused.exit_code == 2, refused.output
    assert "MAILER_BROKER_URL: " in refused.output
    assert words in refused.output
    assert "hid" not in refused.output


@pytest.mark.parametrize(
    "url", ["amqp://me:a%40b@h", "amqp://h//", "amqps://h/a%2Fb", "redis://h", "rediss://:p@h:1/2"]
)
def test_usual_broker_urls_are_taken(url: str) -> None:
    engine_class("celery").check(Settings(engine="celery", database_url=POSTGRESQL, broker_url=url))


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment in which another program's Celery is set up."""
    (tmp_path / "anothers.py").write_text("task_always_eager = True\ntask_send_sent_event = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    another = "redis://another.example.com/7"
    for name in ("BROKER_URL", "BROKER_READ_URL", "BROKER_WRITE_URL", "RESULT_BACKEND"):
        monkeypatch.setenv(f"CELERY_{name}", another)
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "anothers")


@pytest.mark.usefixtures("others")
def test_celery_of_another_program_has_no_say() -> None:
    application = make_application(Settings(engine="celery", broker_url="redis://mine.example.com:6379/3"))

    for connection in (application.connection_for_read(), application.connection_for_write()):
        assert (connection.hostname, connection.virtual_host) == ("mine.example.com", "3")
    assert type(application.backend).__name__ == "DisabledBackend"
    assert not application.conf.task_always_eager
    assert not application.conf.task_send_sent_event


@contextmanager
def greeting(certificate: Path, key: Path) -> Iterator[int]:
    """The port of a server that encrypts its connections, and hangs up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def greet(line: socket.socket) -> None:
        with suppress(OSError):
            while True:
                with line.accept()[0] as end, suppress(OSError):
                    context.wrap_socket(end, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as line:
        threading.Thread(target=greet, args=(line,), daemon=True).start()
        yield line.getsockname()[1]
        line.shutdown(socket.SHUT_RDWR)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["amqps", "rediss"])
@pytest.mark.parametrize(
    ("name", "trusted", "good"), [("localhost", True, True), ("localhost", False, False), ("other.test", True, False)]
)
def test_certificate_of_the_broker_has_to_be_good_and_for_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scheme: str, name: str, trusted: bool, good: bool
) -> None:
    key, made = certificate(name)
    files = pem_files(tmp_path, key, made)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    with greeting(*files) as port:
        settings = Settings(engine="celery", broker_url=f"{scheme}://:hidden@localhost:{port}")
        with pytest.raises(BrokerAway) as refused:
            Doorbell(make_application(settings), settings).ring()

    assert ("CERTIFICATE_VERIFY_FAILED" in str(refused.value)) is not good, refused.value
    assert "hidden" not in str(refused.value)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("mailer.engines.celery")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "celery", None)

    with pytest.raises(ConfigError, match=re.escape("pip install 'campaign-mailer[celery]'")):
        engine_class("celery")


def test_process_that_only_accepts_answers_and_has_no_worker(tmp_path: Path) -> None:
    app = create_app(settings_for(tmp_path, "memory:", engine="external"))
    services = app.extensions["mailer"]
    services.engine.start()
    services.engine.wake()

    lonely, strict = (app.test_client().get(path) for path in ("/readyz", "/readyz?strict=true"))
    Heartbeat(services.db, engine="local", role="worker", version="1", doing=str).beat("w1")
    served = app.test_client().get("/readyz")

    assert (lonely.status_code, strict.status_code) == (200, 503)
    assert "engine: no worker is running, and what is accepted waits" in lonely.get_json()["warnings"]
    assert (served.status_code, served.get_json()["engine"]) == (200, "ok")
    with pytest.raises(ConfigError, match="run `mailer worker` with MAILER_ENGINE="):
        services.engine.work()
    services.db.close()


def shows_itself_until_its_end(settings: Settings) -> None:
    services = build(settings, role="web")
    services.engine.start()
    for _ in attempts(20):
        if workers(services.db):
            break
    (one,) = workers(services.db)
    assert (one.role, one.engine, one.alive, one.delivers) == ("web", settings.engine, True, False)
    assert services.engine.stop(20)
    assert workers(services.db) == []
    services.db.close()


def test_web_that_only_accepts_is_seen_though_nobody_delivers(tmp_path: Path) -> None:
    shows_itself_until_its_end(settings_for(tmp_path, "memory:", engine="external"))


@contextmanager
def silent_server() -> Iterator[str]:
    """A port that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as line:
        yield f"127.0.0.1:{line.getsockname()[1]}"


@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "silent"), [("amqp", True), ("redis", True), ("amqp", False)])
def test_broker_that_is_away_holds_up_nobody_and_is_told(
    postgresql_url: str, tmp_path: Path, scheme: str, silent: bool
) -> None:
    with silent_server() as address:
        url = f"{scheme}://{address if silent else '127.0.0.1:1'}"
        settings = settings_for(tmp_path, "memory:", database_url=postgresql_url, engine="celery", broker_url=url)
        app = create_app(settings)
        services = app.extensions["mailer"]
        services.engine.start()
        with prepared(settings, 1) as made:
            headers = made.headers()
            began = time.monotonic()
            answers = [
                app.test_client().post("/api/v1/mailer", json=PAYLOAD, headers=headers).status_code for _ in range(3)
            ]
            took = time.monotonic() - began
        for _ in attempts(30):
            if "broker" in (services.engine.concern() or ""):
                break
        ready, strict = (app.test_client().get(path) for path in ("/readyz", "/readyz?strict=true"))
        assert answers == [200, 200, 200]
        assert took < 3  # the broker's silence alone would take longer
        assert (ready.status_code, strict.status_code) == (200, 503)
        told = "engine: the broker cannot be reached, and what is accepted waits: 127.0.0.1:"
        assert any(warning.startswith(told) for warning in ready.get_json()["warnings"])
        assert services.engine.trouble() is None
        assert services.engine.stop(20)
        services.db.close()


@pytest.fixture(params=sorted(BROKERS))
def queue(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of a queue, on each broker in turn."""
    return own_queue(BROKERS[request.param])


@pytest.mark.slow
def test_web_of_celery_is_seen_though_it_does_not_deliver(
    postgresql_url: str, tmp_path: Path, queue: dict[str, str]
) -> None:
    settings = settings_for(tmp_path, "memory:", engine="celery", **{**queue, "database_url": postgresql_url})
    shows_itself_until_its_end(settings)


@pytest.mark.slow
def test_however_often_one_rings_a_single_message_waits(queue: dict[str, str]) -> None:
    settings = Settings(**queue)
    bell = Doorbell(make_application(settings), settings)
    bell.ring()
    bell.ring()

    waiting = bell._queue.bind(bell._channel).queue_declare().message_count

    bell.close()
    assert waiting == 1


@pytest.mark.slow
def test_queue_on_rabbitmq_is_a_quorum_queue_and_another_is_refused() -> None:
    settings = Settings(**own_queue(RABBITMQ))
    bell = Doorbell(make_application(settings), settings)
    bell.ring()
    with Connection(RABBITMQ) as connection:
        same = Queue(settings.broker_queue, channel=connection.channel(), queue_arguments={"x-max-length": 100})
        with pytest.raises(connection.channel_errors, match="'quorum'"):
            same.declare()
    bell.close()

    other = Settings(broker_url=RABBITMQ, broker_queue=f"{settings.broker_queue}-classic")
    with Connection(RABBITMQ) as connection:
        classic = Queue(other.broker_queue, channel=connection.channel())
        classic.declare()
        with pytest.raises(BrokerAway, match="inequivalent arg"):
            Doorbell(make_application(other), other).ring()
        classic.delete()


def do_nothing() -> None:
    """What a worker is asked to do that does nothing."""


def test_message_that_redis_cannot_be_told_of_ends_the_connection(tmp_path: Path) -> None:
    """Else it stays in hand for ever, and its worker, which takes so many at a time, asks for no other one."""
    with closing(OwnRedis(tmp_path)) as broker:
        settings = Settings(engine="celery", broker_url=broker.url)
        application = make_application(settings)
        with closing(Doorbell(application, settings)) as bell:
            bell.ring()
        consumer = make_controller(application, do_nothing, pool="solo").consumer
        connection = application.connection_for_read()
        message = queue_of(settings).bind(connection.channel()).get()
        consumer.connection, consumer.hub = connection, Hub()
        consumer.strategies = {
            TASK: lambda _message, _payload, ack, *_: ack(logging.getLogger(), connection.connection_errors)
        }
        broker.close()
        consumer.create_task_handler()(message)
        with closing(consumer.hub), pytest.raises(connection.connection_errors):
            next(consumer.hub.create_loop())
        connection.collect()


class Fire:
    """Two workers over a broker that is cut off, a database that goes away, and an SMTP server that remembers."""

    def __init__(self, broker: Any, settings: Settings, made: Campaigns, log: Path) -> None:
        self._settings, self._made, self._log, self.broker = settings, made, log, broker
        self.killed = 0  # how many processes were killed that may have been sending
        self.workers = [self.start(), self.start(fast=3600.0)]

    def start(self, *, fast: float = 0.0) -> CeleryWorker:
        """One more worker, whose machine's clock may be wrong."""
        return CeleryWorker(self._settings, self._log, fast=fast)

    def child_dies(self, luck: random.Random) -> None:
        """One process that delivers is killed."""
        if pool := luck.choice(self.workers).pool():
            with suppress(ProcessLookupError):
                os.kill(luck.choice(pool), signal.SIGKILL)
            self.killed += 1

    def worker_dies(self, luck: random.Random) -> None:
        """All of one worker is killed, and another is started."""
        self.workers.pop(luck.randrange(2)).kill()
        self.killed += self._settings.workers
        self.workers.append(self.start())

    def broker_dies(self, _luck: random.Random) -> None:
        """The broker is away, and has lost everything."""
        with self.broker.away():
            time.sleep(AWAY)

    def database_dies(self, _luck: random.Random) -> None:
        """The database takes no connections."""
        with altered(self._settings.database_url, "ALLOW_CONNECTIONS false"):
            time.sleep(AWAY)

    def six_messages(self, _luck: random.Random) -> None:
        """The same message comes six times."""
        with Connection(self._settings.broker_url) as connection, connection.channel() as channel:
            producer = connection.Producer(channel)
            for _ in range(6):
                make_application(self._settings).send_task(TASK, producer=producer, task_id="the-same")

    def end(self) -> list[int | None]:
        """Tell every process to end, once all have begun; the exit codes of the workers."""
        for worker in self.workers:
            for _ in attempts(30):
                if worker.pool():
                    break
            worker.signal_all(signal.SIGTERM)
        return [worker.wait() for worker in self.workers]

    def close(self) -> None:
        """Kill all."""
        for worker in self.workers:
            worker.kill()


@pytest.fixture(params=["rabbitmq", "redis"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Each broker in turn, which can go away."""
    with closing(CutRabbitMQ() if request.param == "rabbitmq" else OwnRedis(tmp_path)) as made:
        yield made


@contextmanager
def under_fire(
    tmp_path: Path, broker: Any, postgresql_url: str, recipients: int, lease: int = 5
) -> Iterator[tuple[Fire, Campaigns, RecordingServer, Settings]]:
    """All that a drill needs."""
    with ExitStack() as stack:
        server = stack.enter_context(recording_smtp(tmp_path, SLOW))
        settings = settings_for(
            tmp_path,
            server.url,
            database_url=postgresql_url,
            engine="celery",
            broker_url=broker.url,
            broker_queue=getattr(broker, "queue", "mailer"),
            slice_seconds=2,
            lease_seconds=lease,
            workers=2,
        )
        made = stack.enter_context(prepared(settings, recipients))
        fire = stack.enter_context(closing(Fire(broker, settings, made, tmp_path / "workers.log")))
        yield fire, made, server, settings


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.drill
@pytest.mark.timeout(rounds(400, 7200))  # leases must end and processes start anew, beside whatever else runs
def test_whatever_dies_nobody_is_lost_and_few_get_it_twice(tmp_path: Path, broker: Any, postgresql_url: str) -> None:
    luck = random.Random(7)
    with under_fire(tmp_path, broker, postgresql_url, RECIPIENTS) as (fire, made, server, settings):
        events: list[Callable[[random.Random], None]] = [
            fire.child_dies,
            fire.broker_dies,
            fire.database_dies,
            fire.six_messages,
            fire.worker_dies,
        ]
        campaigns = []
        for event in events * rounds(1, 2):
            campaigns.append(made.accept())
            for _ in attempts(60):
                if made.progress(campaigns[-1]).sent:
                    break
            event(luck)
        ends = [made.finish(campaign_id, seconds=rounds(200, 3600)) for campaign_id in campaigns]
        copies = Counter(message.message_id for message in server.kept())
        sent, uncertain = sum(end.sent for end in ends), sum(end.uncertain for end in ends)

        assert sent + uncertain == len(campaigns) * RECIPIENTS
        assert sent <= len(copies) <= len(campaigns) * RECIPIENTS
        assert copies.total() - len(copies) <= fire.killed * settings.checkpoint
        assert max(copies.values()) <= 2
        assert fire.end() == [0, 0]


@pytest.mark.ci
@pytest.mark.slow
def test_batches_of_killed_children_go_on_before_their_leases_end(
    tmp_path: Path, broker: Any, postgresql_url: str
) -> None:
    with under_fire(tmp_path, broker, postgresql_url, 1000, lease=600) as (fire, made, server, _settings):
        campaign_id = made.accept()
        server.wait_for(10, 60)
        delivering = [pid for worker in fire.workers for pid in worker.pool()]
        for pid in delivering:
            os.kill(pid, signal.SIGKILL)
        end = made.finish(campaign_id, seconds=90)
        assert end.sent == 1000
        assert extra_copies(server) <= len(made.doubtful()) <= len(delivering) * IN_HAND


@pytest.mark.ci
@pytest.mark.slow
def test_worker_that_is_told_to_end_does_so_within_a_checkpoint(
    tmp_path: Path, broker: Any, postgresql_url: str
) -> None:
    with under_fire(tmp_path, broker, postgresql_url, MANY) as (fire, made, server, _settings):
        campaign_id = made.accept()
        for _ in attempts(60):
            if made.progress(campaign_id).sent:
                break
        assert fire.end() == [0, 0]
        now = made.progress(campaign_id)
        assert 0 < now.sent < MANY
        assert (now.uncertain, extra_copies(server), len(server.copies())) == (0, 0, now.sent)


@pytest.mark.slow
def test_check_of_the_settings_tries_the_broker(
    postgresql_url: str, tmp_path: Path, queue: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {"engine": "celery", "database_url": postgresql_url, "transport": "memory:", "secret_key": "k" * 40}

    def check(**changes: str) -> Any:
        named = {f"MAILER_{name.upper()}": text for name, text in {**settings, **queue, **changes}.items()}
        return CliRunner(env=named).invoke(main, ["config", "check"])

    with make_application(Settings(**queue)).connection_for_write() as connection, connection.channel() as channel:
        waiting = queue_of(Settings(**queue)).bind(channel)
        waiting.declare()
        waiting.purge()
        well = check()
        assert waiting.queue_declare().message_count == 0  # it rang for nobody
    away = check(broker_url="amqp://me:secret@127.0.0.1:1/there")

    assert (well.exit_code, "broker: ok" in well.stdout.splitlines()) == (0, True), well.output
    assert (away.exit_code, "broker: amqp://127.0.0.1:1/there" in away.stdout.splitlines()) == (1, True)
    assert "broker: 127.0.0.1:1: ConnectionRefusedError" in away.stderr
    assert "secret" not in away.output
