"""`make demo`: it ends by itself when asked to, and its link lets one in to the pages while it runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.test_signed_in_pages import form_of

pytestmark = pytest.mark.slow

DEMO = Path(__file__).resolve().parent.parent / "examples" / "demo.py"
LINK = re.compile(r"http://127\.0\.0\.1:\d+/mailer/sign-in/[A-Za-z0-9_-]{43}")


@contextmanager
def demo(**environment: str) -> Iterator[subprocess.Popen[str]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAILER_", "DEMO_"))}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "encoding": "utf-8"}
    running = subprocess.Popen([sys.executable, DEMO], env={**clean, **environment}, **options)  # type: ignore[call-overload]
    try:
        yield running
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGINT)
            running.communicate(timeout=60)


@pytest.mark.ci
def test_demo_prints_a_link_first_which_lets_one_in_to_the_pages() -> None:
    with demo() as running:
        assert running.stdout is not None
        before = []
        for line in running.stdout:
            before.append(line)
            if found := LINK.search(line):
                break
        assert found is not None, "".join(before)
        assert not [line for line in before if line.startswith(("POST ", "envelope "))]
        browser = requests.Session()
        page = browser.get(found[0], timeout=30)
        pages = browser.post(found[0], data={"form": form_of(page.text)}, timeout=30)
        assert pages.status_code == 200
        assert "<h1>Campaigns</h1>" in pages.text
        assert browser.get(pages.url + "system", timeout=30).status_code == 200


def test_demo_ends_by_itself_when_asked_to() -> None:
    with demo(DEMO_ONCE="1") as running:
        output, _ = running.communicate(timeout=100)
    assert running.returncode == 0, output[-3000:]
    assert LINK.search(output)
