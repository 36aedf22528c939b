"""The benchmark runs: every part once, with a few messages. No time is asserted."""

import importlib.util
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import (
    accept,
    audience,
    chart,
    distant,
    end_to_end,
    engines,
    fairness,
    files,
    growth,
    instructions,
    latency,
    rendering,
    signing,
    stages,
)
from bench.contestants import has_nodemailer, nodemailer, postfix_tool, python_peer
from bench.figures import Figure, Part, Ratio, in_turn, number, report, table
from bench.load import BadAnswer, hammer, request_bytes
from bench.newsletter import HTML, TEXT, filled, fillings, people
from bench.peers import QUEUE, email_message, installed
from bench.processes import children, smtp_sink
from bench.scale import TINY, Bench

pytestmark = pytest.mark.slow

SINK = postfix_tool("smtp-sink")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(TINY, tmp_path)


def is_sound(part: Part, rounds: int = TINY.rounds) -> bool:
    """Every figure has its rounds, and nothing is zero that cannot be."""
    assert part.figures
    assert all(len(figure.values) == rounds for figure in part.figures)
    assert all(figure.median > 0 for figure in part.figures if figure.unit.endswith("/s"))
    assert report(part).startswith(f"## {part.title}")
    return True


@pytest.mark.ci
@pytest.mark.skipif(SINK is None, reason="no smtp-sink (Debian: postfix)")
def test_end_to_end_measures_the_service_beside_who_is_there(bench: Bench) -> None:
    part = end_to_end.measure(bench)

    assert is_sound(part)
    assert {f"mailer, {name}" for name in end_to_end.SHAPES} <= {figure.name for figure in part.figures}
    assert any("smtplib" in ratio.name for ratio in part.ratios)


@pytest.mark.skipif(SINK is None, reason="no smtp-sink (Debian: postfix)")
@pytest.mark.parametrize("name", ["smtplib", "aiosmtplib", "django", QUEUE])
def test_python_peer_sends(name: str, tmp_path: Path) -> None:
    if not installed(name):
        pytest.skip(f"{name} is not installed")
    with smtp_sink(str(SINK), tmp_path) as port:
        cost = python_peer(name, 5, port, tmp_path / "queue")

    assert cost.count == 5
    assert cost.rate > 0


@pytest.mark.skipif(SINK is None, reason="no smtp-sink (Debian: postfix)")
@pytest.mark.skipif(not has_nodemailer(), reason="no Nodemailer in bench/node_modules")
def test_nodemailer_sends_through_its_pool(tmp_path: Path) -> None:
    with smtp_sink(str(SINK), tmp_path) as port:
        cost = nodemailer("pool", 7, 2, port)

    assert cost.count == 7
    assert cost.cpu > 0


def test_rendering_is_measured(bench: Bench) -> None:
    assert is_sound(rendering.measure(bench))


def test_signing_is_measured_with_keys_that_nobody_else_may_read(bench: Bench) -> None:
    part = signing.measure(bench)

    assert is_sound(part)
    assert {path.stat().st_mode & 0o077 for path in bench.work.glob("*.pem")} == {0}
    assert part.figure("DKIM on, both").median > part.figure("DKIM off").median


def test_everybody_renders_the_same_newsletter() -> None:
    person = next(people(1))
    ours = next(rendering.messages(1)).content
    theirs = email_message(person).as_bytes()

    assert all(person.name.encode() in content and person.address.encode() in content for content in (ours, theirs))
    assert 4_000 < len(ours) < 6_000
    assert 0.8 < len(theirs) / len(ours) < 1.25
    assert "[" not in filled(HTML + TEXT, fillings(person))


def test_files_are_measured(bench: Bench) -> None:
    part = files.measure(bench)

    assert is_sound(part)
    assert not list(bench.work.iterdir())


@pytest.mark.ci
def test_engines_are_measured_side_by_side(bench: Bench) -> None:
    part = engines.measure(bench)

    assert is_sound(part)
    assert [ratio.name for ratio in part.ratios if ratio.target] == [
        "messages/s: Celery on RabbitMQ / local",
        "messages/s: Celery on Redis / local",
    ]


@pytest.mark.ci
def test_growth_measures_each_size(bench: Bench) -> None:
    part = growth.measure(bench)

    assert is_sound(part)
    assert "1,000,000" in part.notes[-1]


@pytest.mark.skipif(SINK is None, reason="no smtp-sink (Debian: postfix)")
def test_stages_account_for_the_whole_time(bench: Bench) -> None:
    part = stages.measure(bench)

    assert is_sound(part)
    spent = {figure.name: figure.median for figure in part.figures}
    assert spent["link and render: wall"] > 0
    assert spent["transport: wall"] > 0
    assert spent["everything else: wall"] > 0


@pytest.mark.ci
def test_audience_and_accepting_are_measured_over_one_big_directory(bench: Bench) -> None:
    big, imported = audience.make_big(bench)

    assert is_sound(audience.measure(bench, big, imported))
    assert is_sound(accept.measure(bench, big))


@pytest.fixture
def refusing() -> Iterator[int]:
    """The port of a server that answers 429."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\nno")

        thread = threading.Thread(target=answer)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_hammer_does_not_count_a_refusal(refusing: int) -> None:
    with pytest.raises(BadAnswer, match="429"):
        hammer(refusing, request_bytes("/", {}, {}), 1, 1)


def test_run_that_is_terminated_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "--quick", "--only", "growth", "--out", str(tmp_path)]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL) as run:
        assert until(lambda: [pid for pid in children(run.pid) if children(pid)]), "no server was started"
        servers = [pid for child in children(run.pid) for pid in (child, *children(child))]
        run.terminate()

    assert run.returncode == 128 + signal.SIGTERM
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in servers))
    assert not list(tmp_path.glob("work-*"))


def until(condition: Callable[[], object], seconds: float = 30.0) -> bool:
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.02)
    return True


def test_contestants_run_in_turn() -> None:
    order: list[str] = []
    results = in_turn(2, {"a": lambda: order.append("a"), "b": lambda: order.append("b")})

    assert order == ["a", "b", "a", "b"]
    assert results == {"a": [None, None], "b": [None, None]}


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        pytest.param(Ratio("x", 12.0, 12.0), "reached", id="just-enough"),
        pytest.param(Ratio("x", 11.9, 12.0), "missed", id="too-little"),
        pytest.param(Ratio("x", 0.1, 0.1, at_most=True), "reached", id="just-not-too-much"),
        pytest.param(Ratio("x", 0.2, 0.1, at_most=True), "missed", id="too-much"),
        pytest.param(Ratio("x", 1.0), "", id="no-target"),
    ],
)
def test_verdict_compares_with_the_target(ratio: Ratio, verdict: str) -> None:
    assert ratio.verdict == verdict


def test_figure_has_the_median_and_the_spread() -> None:
    figure = Figure("x", "s", (1.0, 4.0, 2.0))

    assert figure.median == 2.0
    assert figure.spread == 1.5


@pytest.mark.parametrize(
    ("value", "text"), [(12345.6, "12,346"), (12.34, "12.3"), (1.234, "1.23"), (0.1234, "0.123"), (0.0, "0")]
)
def test_number_has_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_table_lines_up() -> None:
    lines = table(("name", "n"), [("a", "1"), ("long name", "1,000")]).splitlines()

    assert len({len(line) for line in lines}) == 1
    assert lines[2] == "| a         |     1 |"


def test_chart_is_drawn_from_the_rates(tmp_path: Path) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("no matplotlib")
    part = Part("end_to_end", "Title", figures=(Figure("mailer, 1 process", "messages/s", (1.0, 2.0, 3.0)),))

    assert chart.draw(part, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_chart_is_left_out_when_nothing_was_measured(tmp_path: Path) -> None:
    assert not chart.draw(Part("end_to_end", "Title"), tmp_path / "chart.png")


@pytest.mark.ci
@pytest.mark.skipif(SINK is None, reason="no smtp-sink (Debian: postfix)")
def test_distant_relay_is_measured(bench: Bench) -> None:
    assert is_sound(distant.measure(bench))


@pytest.mark.ci
@pytest.mark.skipif(SINK is None, reason="no smtp-sink (Debian: postfix)")
def test_turns_are_measured_behind_a_large_campaign(bench: Bench) -> None:
    big, _ = audience.make_big(bench)
    assert is_sound(fairness.measure(bench, big))


@pytest.mark.ci
def test_message_at_rest_is_measured(bench: Bench) -> None:
    assert is_sound(latency.measure(bench), rounds=latency.FEW)


class TestInstructions:
    """What was counted is compared with what was accepted for the same Python; that it is counted right, CI shows."""

    @pytest.fixture(autouse=True)
    def counted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
        numbers = dict.fromkeys(instructions.ROWS, 1000.0)
        stored = tmp_path / "instructions.json"
        stored.write_text("{}", "utf-8")
        monkeypatch.setattr(instructions, "BASELINE", stored)
        monkeypatch.setattr(instructions, "available", str)
        monkeypatch.setattr(instructions, "count", lambda folder: numbers)
        return numbers

    def test_without_a_baseline_nothing_is_compared(self) -> None:
        assert instructions.main([]) == 2

    @pytest.mark.parametrize(("now", "code"), [(900, 0), (1049, 0), (1051, 1)])
    def test_message_that_has_become_dearer_fails(self, counted: dict[str, float], now: float, code: int) -> None:
        assert instructions.main(["--accept"]) == 0
        counted[instructions.ROAD] = now
        assert instructions.main([]) == code
        assert instructions.main(["--accept"]) == 0
        assert instructions.main([]) == 0

    def test_other_pythons_numbers_are_kept_and_not_compared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert instructions.main(["--accept"]) == 0
        monkeypatch.setattr(instructions, "key", lambda: "CPython 9.9.9, abacus")
        assert instructions.main([]) == 2
        assert instructions.main(["--accept"]) == 0
        assert len(json.loads(instructions.BASELINE.read_text("utf-8"))) == 2
