"""What is in `deploy/`: units, the image, the compose file and its secrets, as far as they can be checked without them.

`make check-image` carries the Containerfile out; docs/deploying.md says what was checked how.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from mailer.settings import SECRET_VARIABLES, Settings, secret_files
from tests.check_image import instructions
from tests.service import BIN, ROOT

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
IMAGE = instructions((DEPLOY / "Containerfile").read_text("utf-8"))
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
OURS = ("web", "worker")
EXPOSURE = 20  # tenths; systemd itself calls up to 19 OK, and a unit without any hardening has 96


def name_of(path: Path) -> str:
    return path.name


def known_settings() -> set[str]:
    return {f"MAILER_{one.name.upper()}" for one in fields(Settings)} | {f"{name}_FILE" for name in SECRET_VARIABLES}


def values(unit: Path, name: str) -> list[str]:
    """What stands behind `name=` in a unit, line by line."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    "path",
    [*UNITS, DEPLOY / "systemd" / "settings.env", DEPLOY / "compose.yaml", DEPLOY / "Containerfile"],
    ids=name_of,
)
def test_every_setting_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"\bMAILER_[A-Z_]+", path.read_text("utf-8")))
    assert named <= known_settings()


# --- systemd ----------------------------------------------------------------------------------------------------------


ANALYZE = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


@pytest.fixture
def unit_with_programs(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A unit with a program at the place that it names."""
    unit: Path = request.param
    (tmp_path / unit.name).write_text(unit.read_text("utf-8").replace("/opt/mailer/bin/", f"{tmp_path}/"))
    for program in ("gunicorn", "mailer"):
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    return tmp_path / unit.name


@ANALYZE
@pytest.mark.parametrize("unit_with_programs", UNITS, ids=name_of, indirect=True)
def test_systemd_finds_nothing_wrong_with_a_unit(unit_with_programs: Path) -> None:
    command = ["systemd-analyze", "verify", "--man=no", unit_with_programs]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if "mailer" in line] == []
    assert done.returncode == 0, done.stderr


@ANALYZE
@pytest.mark.parametrize("unit", UNITS, ids=name_of)
def test_unit_exposes_little(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", unit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("unit", UNITS, ids=name_of)
def test_every_secret_of_a_unit_is_handed_over_as_a_credential(unit: Path) -> None:
    handed = dict(line.split(":", 1) for line in values(unit, "LoadCredential"))
    read = dict(line.split("=%d/", 1) for line in values(unit, "Environment"))
    assert set(read.values()) == set(handed)
    assert {f"MAILER_{name.upper()}_FILE" for name in handed} == set(read)
    assert all(place == f"/etc/mailer/secrets/{name}" for name, place in handed.items())


@pytest.mark.parametrize("unit", UNITS, ids=name_of)
def test_unit_is_given_time_for_the_checkpoint_in_hand(unit: Path) -> None:
    (patience,) = values(unit, "TimeoutStopSec")
    (graceful,) = re.findall(r"^graceful_timeout = (\d+)", (ROOT / "gunicorn.conf.py").read_text(), re.MULTILINE)
    assert int(patience) >= int(graceful) + 5
    assert values(unit, "KillMode") == ["mixed"]


def test_units_of_a_fleet_differ_from_the_one_in_what_they_run_only() -> None:
    hardened = [unit.read_text("utf-8").partition("\nUMask=")[2] for unit in UNITS]
    assert len(UNITS) == 3
    assert len(set(hardened)) == 1


@pytest.mark.parametrize("unit", UNITS, ids=name_of)
def test_unit_may_have_settings_of_its_own_which_win(unit: Path) -> None:
    """Two processes of a machine cannot have the same address for their metrics."""
    assert values(unit, "EnvironmentFile") == ["/etc/mailer/settings.env", "-/etc/mailer/%N.env"]


def test_settings_file_says_the_same_to_systemd_and_to_a_shell() -> None:
    path = DEPLOY / "systemd" / "settings.env"
    script = f"set -a; . {path}; env"
    done = subprocess.run(["sh", "-c", script], env={}, capture_output=True, text=True, check=True)
    said = {line.partition("=")[0]: line.partition("=")[2] for line in done.stdout.splitlines()}
    read = dotenv_values(path)
    assert {name: said[name] for name in read} == read


def test_command_has_the_settings_and_the_secrets_of_the_service(tmp_path: Path) -> None:
    etc, home = tmp_path / "etc", tmp_path / "home"
    (etc / "secrets").mkdir(parents=True)
    home.mkdir()
    (etc / "settings.env").write_text('MAILER_SITE_NAME="Example Workspace"\n')
    (etc / "secrets" / "secret_key").write_text("k" * 40)
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\nenv; pwd; echo "$@"\n')
    program.chmod(0o755)
    text = (DEPLOY / "systemd" / "mailer").read_text("utf-8")
    text = text.replace("/opt/mailer/bin/mailer", str(program)).replace("cd /var/lib/mailer", f"cd {home}")
    text = text.replace("setpriv --reuid mailer --regid mailer --init-groups", "")
    environment = {"MAILER_ETC": str(etc), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["sh", "-c", text, "mailer", "users", "a b"], env=environment, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[-2:] == [str(home), "users a b"]
    assert [line for line in lines if line.startswith("MAILER_")] == [
        "MAILER_SITE_NAME=Example Workspace",
        f"MAILER_SECRET_KEY_FILE={etc}/secrets/secret_key",
    ]


def test_command_knows_every_secret() -> None:
    (listed,) = re.findall(r"for secret in (.*); do", (DEPLOY / "systemd" / "mailer").read_text("utf-8"))
    known = {f"MAILER_{name.upper()}" for name in listed.split()}
    assert known == set(SECRET_VARIABLES)


# --- the image --------------------------------------------------------------------------------------------------------


def test_image_runs_as_nobody_in_particular() -> None:
    said = dict(IMAGE)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", said["USER"])
    assert f"--uid {said['USER'].partition(':')[0]}" in " ".join(rest for word, rest in IMAGE if word == "RUN")
    assert said["VOLUME"] == said["WORKDIR"] == "/var/lib/mailer"
    assert [word for word, _ in IMAGE][-1] == "CMD"


def test_image_is_made_of_what_the_context_lets_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [word for name, rest in IMAGE if name == "COPY" and "--from" not in rest for word in rest.split()[:-1]]
    assert set(copied) == let_in
    assert all((ROOT / name).exists() for name in copied)


def images() -> list[str]:
    own = [rest.partition(" ")[0] for word, rest in IMAGE if word == "FROM"]
    return own + [service["image"] for service in COMPOSE["services"].values()]


def test_no_image_names_the_host_of_a_registry() -> None:
    assert not [name for name in images() if re.match(r"[^/]*[.:][^/]*/", name)]


# --- the compose file -------------------------------------------------------------------------------------------------


def checked(folder: Path, compose: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    """The compose file held against the schema of its specification, which check-jsonschema brings along."""
    (folder / "compose.yaml").write_text(yaml.safe_dump(compose))
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", folder / "compose.yaml"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_compose_file_is_what_the_specification_allows(tmp_path: Path) -> None:
    done = checked(tmp_path, COMPOSE)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [("healtcheck", {"disable": True}), ("stop_grace_period", ["40s"]), ("secrets", "database_url"), ("tmpfs", 5)],
)
def test_schema_finds_what_is_misspelt(tmp_path: Path, name: str, value: Any) -> None:
    web = {**COMPOSE["services"]["web"], name: value}
    done = checked(tmp_path, {**COMPOSE, "services": {**COMPOSE["services"], "web": web}})
    assert (done.returncode, f"services.web{'' if name == 'healtcheck' else f'.{name}'}" in done.stdout) == (1, True)


def listed(service: dict[str, Any], name: str) -> list[str]:
    given = service.get(name, [])
    return [one["source"] if isinstance(one, dict) else one for one in given]


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_service_refers_to_what_there_is(name: str) -> None:
    service = COMPOSE["services"][name]
    volumes = {one.partition(":")[0] for one in service.get("volumes", [])}
    assert set(listed(service, "secrets")) <= set(COMPOSE["secrets"])
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    assert {one for one in volumes if not one.startswith(".")} <= set(COMPOSE["volumes"])
    assert all((DEPLOY / one).exists() for one in volumes if one.startswith("."))
    for needed, how in service.get("depends_on", {}).items():
        other = COMPOSE["services"][needed]
        healthy = "test" in other.get("healthcheck", {}) or other.get("image") == "mailer"
        assert how == {"condition": "service_healthy"}
        assert healthy
    assert all(one.startswith("127.0.0.1:") for one in service.get("ports", []))


@pytest.mark.parametrize("name", OURS)
def test_ours_run_on_a_read_only_root_without_capabilities(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert [one for one in service["tmpfs"] if one.partition(":")[0] == "/tmp"]
    assert "/var/lib/mailer" in str([*service.get("volumes", []), *service["tmpfs"]])
    assert int(service["stop_grace_period"].rstrip("s")) >= 35
    environment = service["environment"]
    assert environment["MAILER_ENGINE"] == "celery"
    assert {f"/run/secrets/{one}" for one in service["secrets"]} == {
        value for key, value in environment.items() if key.endswith("_FILE")
    }
    assert not set(environment) & set(SECRET_VARIABLES) - {"MAILER_TRANSPORT"}  # the catcher wants no password


def test_two_workers_and_a_web_that_is_built_here() -> None:
    assert COMPOSE["services"]["worker"]["deploy"]["replicas"] == 2
    build = COMPOSE["services"]["web"]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def test_only_what_serves_people_can_be_reached() -> None:
    outside = {name for name, one in COMPOSE["services"].items() if "outside" in one["networks"]}
    assert outside == {name for name, one in COMPOSE["services"].items() if "ports" in one}
    assert COMPOSE["networks"]["inside"] == {"internal": True}


def test_secrets_are_made_once_and_are_those_that_the_file_names(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    command = ["bash", DEPLOY / "make-secrets.sh", folder]
    subprocess.run(command, check=True, capture_output=True)
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(made) == {Path(one["file"]).name for one in COMPOSE["secrets"].values()}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    password = made["database_password"].strip()
    assert made["database_url"] == f"postgresql://mailer:{password}@database/mailer\n"
    assert made["broker_url"].split(":")[2].partition("@")[0] in made["broker.conf"]
    subprocess.run(command, check=True, capture_output=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == made

    variables = {"MAILER_SECRET_KEY_FILE": str(folder / "secret_key")}
    assert len(secret_files.read(variables, ["MAILER_SECRET_KEY"])["MAILER_SECRET_KEY"]) == 48


def test_prometheus_asks_the_services_that_count() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))
    (job,) = config["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    assert found["names"] == list(OURS)
    assert str(found["port"]) == COMPOSE["services"]["web"]["environment"]["MAILER_METRICS"].rpartition(":")[2]


def test_scripts_can_be_read_by_their_shells() -> None:
    for shell, path in (("bash", DEPLOY / "make-secrets.sh"), ("sh", DEPLOY / "systemd" / "mailer")):
        subprocess.run([shell, "-n", path], check=True)
        assert os.access(path, os.X_OK)
        assert shutil.which(shell)
