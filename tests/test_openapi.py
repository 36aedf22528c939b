"""schemathesis tries what the API's description allows and what it does not; the answers must be as described."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailer.callers.tokens import PERMISSIONS
from mailer.storage.models import User
from tests.conftest import user_row
from tests.drills import rounds
from tests.service import BIN, ROOT, Service

pytestmark = pytest.mark.slow

SEED, EXAMPLES = "11", str(rounds(2, 40))
UNDECIDED = {
    "positive_data_acceptance": "more is refused than a schema can say, such as an address that cannot be",
    "negative_data_rejection": "more is taken than the schemas say: numbers for strings, as Rocket.Chat's server does",
    "allow_header_conformance": "a user may be called `export`, so that DELETE exists at the export's address too",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    made = Service(tmp_path_factory.mktemp("openapi"), transport="memory:", rate_limit="")
    with made.db.write() as connection:
        connection.execute(User.__table__.insert(), [user_row(n) for n in range(3)])
    with made:
        yield made


def tried(service: Service, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [BIN / "schemathesis", "run", f"{service.url}/docs/openapi.json", "--seed", SEED, "--no-color"]
    command += ["--max-examples", EXAMPLES, "--phases", "examples,coverage,fuzzing", "--continue-on-failure"]
    command += ["--suppress-health-check", "all", "--warnings", "off", "--exclude-checks", ",".join(UNDECIDED), *more]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=rounds(110, 3600), check=False
    )


@pytest.mark.ci
@pytest.mark.drill
def test_strangers_are_answered_as_described(service: Service, tmp_path: Path) -> None:
    done = tried(service, tmp_path)
    assert done.returncode == 0, done.stdout[-6000:]
    assert "Traceback" not in service.output.read_text()


@pytest.mark.ci
@pytest.mark.drill
def test_callers_are_answered_as_described(service: Service, tmp_path: Path) -> None:
    known = service.headers("user00000", *PERMISSIONS)
    headers = [part for name, value in known.items() for part in ("-H", f"{name}: {value}")]
    done = tried(service, tmp_path, *headers, "--exclude-path", "/api/v1/logout")  # which would end the token
    assert done.returncode == 0, done.stdout[-6000:]
    assert "Traceback" not in service.output.read_text()
