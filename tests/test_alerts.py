"""The alert rules: promtool takes them, they fire when they must, and each has a section on what to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailer.metrics.database_gauges import DatabaseGauges
from mailer.metrics.instruments import Instruments
from mailer.storage.database import Database
from tests.doc_pages import section

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "deploy" / "prometheus"
RULES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
PAGE = ROOT / "docs" / "alerts.md"
PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool (Debian: prometheus)")


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROMTOOL), *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


@needs_promtool
def test_promtool_takes_rules_and_configuration() -> None:
    for command, file in (("rules", "alerts.yml"), ("config", "prometheus.yml")):
        done = promtool("check", command, FOLDER / file)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@needs_promtool
def test_rules_fire_when_they_must_and_not_otherwise() -> None:
    done = promtool("test", "rules", FOLDER / "alerts_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@needs_promtool
def test_a_rule_that_does_not_fire_is_noticed(tmp_path: Path) -> None:
    text = (FOLDER / "alerts.yml").read_text("utf-8")
    assert "> 14400" in text
    (tmp_path / "alerts.yml").write_text(text.replace("> 14400", "> 144000"))
    shutil.copy(FOLDER / "alerts_test.yml", tmp_path)
    assert promtool("test", "rules", tmp_path / "alerts_test.yml").returncode == 1


def test_each_rule_has_a_section_and_each_section_a_rule() -> None:
    names = [rule["alert"] for rule in RULES]
    assert names == re.findall(r"^## (Mailer\w+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{rule['alert'].lower()}"
        text = section(PAGE, rule["alert"])
        assert "What it means." in text
        assert "What to do." in text


def test_every_rule_is_tried() -> None:
    tried = (FOLDER / "alerts_test.yml").read_text("utf-8")
    assert not [rule["alert"] for rule in RULES if rule["alert"] not in tried]


def test_rules_name_metrics_that_there_are(sqlite_db: Database) -> None:
    registry = Instruments(DatabaseGauges(sqlite_db)).registry
    there = {f"{family.name}_total" if family.type == "counter" else family.name for family in registry.collect()}
    named = {name.removesuffix("_bucket") for rule in RULES for name in re.findall(r"mailer_\w+", rule["expr"])}
    assert named
    assert named <= there
