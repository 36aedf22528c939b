"""The whole service as deployed: users imported, one POST, gunicorn, a transport, the counts compared at both ends."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from email import message_from_bytes, policy
from pathlib import Path

import pytest
import requests

from tests.conftest import user_row
from tests.drills import rounds
from tests.service import BIN, ROOT, Service
from tests.smtp_servers import running_aiosmtpd

pytestmark = pytest.mark.slow

MANY = rounds(2_000, 10_000)


def write_users(path: Path, count: int) -> None:
    """A directory as Rocket.Chat shows it."""
    with path.open("w") as file:
        for number in range(count):
            document = user_row(number)["document"]
            file.write(json.dumps(document) + "\n")


def import_users(service: Service, count: int) -> None:
    from mailer.directory.imports import import_users as run

    path = service.folder / "users.ndjson"
    write_users(path, count)
    assert run(service.db, path).total == count


def addresses(count: int) -> list[str]:
    return [f"user{number:05d}@example.com" for number in range(count)]


@pytest.mark.ci
@pytest.mark.drill
def test_thousands_of_users_through_files_each_exactly_once(tmp_path: Path) -> None:
    made = Service(tmp_path, workers=4, transport=f"file:{tmp_path}/mail")
    import_users(made, MANY)
    with made as service:
        headers = service.headers("user00000")
        campaign = service.finish(headers, service.post(headers))
        assert service.stop() == 0
    files = list((tmp_path / "mail").glob("*.eml"))
    recipients = [message_from_bytes(file.read_bytes(), policy=policy.default)["To"].addresses[0] for file in files]
    assert sorted(address.addr_spec for address in recipients) == addresses(MANY)
    assert (campaign["planned"], campaign["sent"], campaign["state"]) == (MANY, MANY, "completed")
    assert len((tmp_path / "mail" / "index.ndjson").read_text().splitlines()) == MANY


@pytest.mark.ci
@pytest.mark.drill
def test_thousands_of_users_on_the_console_each_exactly_once(tmp_path: Path) -> None:
    made = Service(tmp_path, workers=2, transport="console:?format=line")
    import_users(made, MANY)
    with made as service:
        headers = service.headers("user00000")
        campaign = service.finish(headers, service.post(headers))
    lines = [line for line in made.output.read_text().splitlines() if " news@example.com -> " in line]
    assert sorted(line.split()[3] for line in lines) == addresses(MANY)
    assert campaign["sent"] == MANY


@pytest.mark.drill
def test_thousands_of_users_through_smtp_each_exactly_once(tmp_path: Path) -> None:
    with running_aiosmtpd() as server:
        made = Service(tmp_path, workers=4, transport=f"smtp://127.0.0.1:{server.port}")
        import_users(made, MANY)
        with made as service:
            headers = service.headers("user00000")
            campaign = service.finish(headers, service.post(headers), seconds=110)
        assert sorted(server.recorder.recipients) == addresses(MANY)
        assert (campaign["planned"], campaign["sent"]) == (MANY, MANY)


def test_pages_own_example_arrives_at_its_from_address(tmp_path: Path) -> None:
    made = Service(tmp_path, transport=f"file:{tmp_path}/mail")
    import_users(made, 3)
    page = {
        "from": "test.test@test.com",
        "subject": "Welcome to the Test Newsletter",
        "body": "Thank you for subscribing to the Test Newsletter. If this was not you feel free to unsubscribe by "
        "hitting the following button [unsubscribe]",
        "dryrun": "true",
    }
    with made as service:
        headers = service.headers("user00000")
        answer = requests.post(f"{service.url}/api/v1/mailer", json=page, headers=headers, timeout=10)
        assert answer.text.replace(" ", "").strip() == '{"success":true}'
        campaign = service.finish(headers, answer)
        deliveries = service.get(answer.headers["Location"] + "/deliveries", headers).json()["deliveries"]
    assert (campaign["planned"], campaign["sent"], campaign["dryrun"]) == (1, 1, True)
    assert [delivery["address"] for delivery in deliveries] == ["test.test@test.com"]
    (file,) = (tmp_path / "mail").glob("*.eml")
    message = message_from_bytes(file.read_bytes(), policy=policy.default)
    assert message["From"].addresses[0].addr_spec == message["To"].addresses[0].addr_spec == "test.test@test.com"


def test_link_in_the_mail_unsubscribes_from_the_next_campaign(tmp_path: Path) -> None:
    made = Service(tmp_path, transport=f"file:{tmp_path}/mail")
    import_users(made, 2)
    with made as service:
        headers = service.headers("user00000")
        service.finish(headers, service.post(headers))
        for file in (tmp_path / "mail").glob("*.eml"):
            message = message_from_bytes(file.read_bytes(), policy=policy.default)
            if message["To"].addresses[0].addr_spec == "user00001@example.com":
                link = message["List-Unsubscribe"].strip("<>")
        assert requests.get(link, timeout=10).status_code == 200
        again = service.finish(headers, service.post(headers))
        assert again["sent"] == 2  # looking at the page changed nothing
        clicked = requests.post(link, data={"List-Unsubscribe": "One-Click"}, timeout=10, allow_redirects=False)
        assert (clicked.status_code, clicked.headers.get("Set-Cookie")) == (200, None)
        assert service.finish(headers, service.post(headers))["sent"] == 1


def test_deliveries_are_paged_by_user_id(tmp_path: Path) -> None:
    made = Service(tmp_path, transport=f"file:{tmp_path}/mail")
    import_users(made, 5)
    with made as service:
        headers = service.headers("user00000")
        posted = service.post(headers)
        service.finish(headers, posted)
        seen, after = [], ""
        while after is not None:
            path = f"{posted.headers['Location']}/deliveries?count=2&status=sent" + (f"&after={after}" if after else "")
            page = service.get(path, headers).json()
            seen += [delivery["userId"] for delivery in page["deliveries"]]
            after = page["next"]
    assert seen == [f"user{number:05d}" for number in range(5)]


def test_sigterm_finishes_the_checkpoint_in_hand_and_exits_0(tmp_path: Path) -> None:
    made = Service(tmp_path, workers=2, transport=f"file:{tmp_path}/mail", batch_size=200)
    import_users(made, 2000)
    with made as service:
        headers = service.headers("user00000")
        posted = service.post(headers)
        while not list((tmp_path / "mail").glob("*.eml")):
            time.sleep(0.01)
        assert service.stop() == 0
        first = len(list((tmp_path / "mail").glob("*.eml")))
        assert first > 0
        service.start()
        campaign = service.finish(headers, posted)
    index = (tmp_path / "mail" / "index.ndjson").read_text().splitlines()
    times = Counter(json.loads(line)["id"] for line in index)
    assert campaign["sent"] == len(times) == 2000
    assert set(times.values()) == {1}


def test_database_on_postgresql_behaves_the_same(tmp_path: Path, database_url: str) -> None:
    made = Service(tmp_path, workers=2, database_url=database_url, transport=f"file:{tmp_path}/mail", batch_size=50)
    import_users(made, 300)
    with made as service:
        headers = service.headers("user00000")
        campaign = service.finish(headers, service.post(headers, query='{"roles": "user"}'))
    assert (campaign["sent"], len(list((tmp_path / "mail").glob("*.eml")))) == (300, 300)


def test_no_address_or_token_is_logged(tmp_path: Path) -> None:
    made = Service(tmp_path, transport=f"file:{tmp_path}/mail")
    import_users(made, 20)
    with made as service:
        headers = service.headers("user00000")
        service.finish(headers, service.post(headers))
        service.post({**headers, "X-Auth-Token": "wrong-token-value"})
        assert service.stop() == 0
    logged = made.output.read_text()
    assert "@example.com" not in logged
    assert headers["X-Auth-Token"] not in logged
    assert "wrong-token-value" not in logged


@pytest.mark.parametrize(
    ("name", "value"),
    [("CHECKPOINT", "0"), ("TRANSPORT", "pigeon:x"), ("DATABASE_URL", "oracle://x"), ("EMAIL_FOOTER", "nowhere.html")],
)
def test_bad_setting_stops_the_start_with_one_line(tmp_path: Path, name: str, value: str) -> None:
    made = Service(tmp_path)
    made.db.close()
    command = [BIN / "gunicorn", "-w", "2", "-b", f"127.0.0.1:{made.port}", "wsgi:app"]
    environment = {**made.environment, f"MAILER_{name}": value}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "[INFO]" not in line]
    assert line.startswith(f"mailer: MAILER_{name}: ")
