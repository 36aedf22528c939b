"""The import direction, and the few places that may touch the outside, are rules that a test enforces."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = [
    ["mailer.html_tree", "mailer.media_queries"],
    ["mailer.stylesheets"],
    ["mailer.visible_text"],
    ["mailer.text_page", "mailer.text_links", "mailer.text_tables"],
    ["mailer.text_layout"],
    [
        "mailer.setting_readers",
        "mailer.errors",
        "mailer.ejson",
        "mailer.mime",
        "mailer.addresses",
        "mailer.client_address",
    ],
    ["mailer.states", "mailer.machine_clock"],
    ["mailer.placeholders", "mailer.setting_names", "mailer.env_file", "mailer.site_address", "mailer.listening"],
    ["mailer.database_errors"],
    ["mailer.html_names", "mailer.segments", "mailer.markup", "mailer.linkify"],
    ["mailer.rough_text"],
    ["mailer.plaintext"],
    ["mailer.html_body", "mailer.plain_body", "mailer.bodies"],
    ["mailer.settings"],
    ["mailer.text_files", "mailer.cells", "mailer.headings", "mailer.tables", "mailer.changes"],
    ["mailer.spreadsheets", "mailer.json_streams", "mailer.user_tables"],
    ["mailer.list_files"],
    ["mailer.model_base"],
    ["mailer.suppression_models"],
    ["mailer.models", "mailer.readers", "mailer.suppression_lists"],
    ["mailer.selector", "mailer.retry", "mailer.blame", "mailer.documents", "mailer.sqlite_writes"],
    ["mailer.standing", "mailer.time_limits"],
    ["mailer.shared_writes"],
    ["mailer.database", "mailer.migrations"],
    ["mailer.wishes", "mailer.known_users", "mailer.staged_users", "mailer.salvage", "mailer.links"],
    [
        "mailer.rendering",
        "mailer.unsubscribe",
        "mailer.imports",
        "mailer.suppression",
        "mailer.blockage",
    ],
    ["mailer.rocketchat"],
    ["mailer.user_list"],
    [
        "mailer.directory",
        "mailer.merging",
        "mailer.sync",
        "mailer.shared_task",
        "mailer.worklist",
        "mailer.ledger",
        "mailer.refusals",
        "mailer.blocks",
        "mailer.same_refusals",
        "mailer.trouble",
        "mailer.resting",
        "mailer.hold",
        "mailer.outbox",
    ],
    ["mailer.attempt", "mailer.membership"],
    [
        "mailer.accept",
        "mailer.control",
        "mailer.clock_watch",
        "mailer.planning",
        "mailer.progress",
        "mailer.delivery",
        "mailer.auth",
        "mailer.rate_limits",
    ],
    [
        "mailer.sync_task",
        "mailer.doctor",
        "mailer.workspace_auth",
        "mailer.sessions",
        "mailer.export",
        "mailer.retention",
        "mailer.audience",
        "mailer.campaign_warnings",
    ],
    ["mailer.workspace_sessions"],
    ["mailer.schemas", "mailer.audience_schemas", "mailer.pages", "mailer.engines", "mailer.api"],
    ["app"],
    ["mailer.cli", "wsgi"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
SOURCES = [*(ROOT / "mailer").rglob("*.py"), *(ROOT / "transports").rglob("*.py"), ROOT / "app.py", ROOT / "wsgi.py"]


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(name: str) -> str | None:
    parts = name.split(".")
    return next((known for n in (2, 1) if (known := ".".join(parts[:n])) in RANK), None)


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parts[-2] != "transports"], ids=module_name)
def test_rooms_import_downwards_only(path: Path) -> None:
    name = module_name(path)
    here = room(name)
    assert here or name == "mailer", f"{name} has no place in LAYERS"
    if not here:
        return
    upward = {other for other in map(room, imports(path)) if other and RANK[other] > RANK[here]}
    assert not upward


@pytest.mark.parametrize("path", [p for p in SOURCES if "transports" in p.parts], ids=module_name)
def test_transports_know_nothing_of_the_service(path: Path) -> None:
    assert not {name for name in imports(path) if name.split(".")[0] in ("mailer", "app", "flask", "flask_smorest")}


RESERVED = {
    "smtplib": {"transports"},
    "requests": {
        "transports.webhook",
        "transports.webhook_exchange",
        "transports.network_errors",
        "mailer.cli",
        "mailer.rocketchat",
        "mailer.workspace_sessions",
    },
    "environs": {"mailer.settings", "mailer.setting_readers"},
    "dotenv": {"mailer.env_file"},
    "gunicorn": set(),
}


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_outside_is_touched_in_few_places(path: Path) -> None:
    name = module_name(path)
    for library, allowed in RESERVED.items():
        if any(used.split(".")[0] == library for used in imports(path)):
            assert any(name == place or name.startswith(place + ".") for place in allowed), f"{name} uses {library}"


@pytest.mark.parametrize("path", [p for p in SOURCES if module_name(p) != "mailer.settings"], ids=module_name)
def test_only_settings_read_the_environment(path: Path) -> None:
    source = path.read_text("utf-8")
    assert "os.environ" not in source or "mailer/cli/" in path.as_posix()
    assert "os.getenv" not in source


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_module_is_short_enough_to_read(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 250
