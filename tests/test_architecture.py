"""The import direction, and the few places that may touch the outside, are rules that a test enforces."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = [
    ["mailer.messages.text_part.tree", "mailer.messages.text_part.media_queries"],
    ["mailer.messages.text_part.stylesheets"],
    ["mailer.messages.text_part.visible"],
    ["mailer.messages.text_part.page", "mailer.messages.text_part.links", "mailer.messages.text_part.tables"],
    ["mailer.messages.text_part.layout"],
    [
        "mailer.settings.readers",
        "mailer.errors",
        "mailer.files.ejson",
        "mailer.messages.headers",
        "mailer.messages.addresses",
        "mailer.callers.client_address",
    ],
    ["mailer.storage.states", "mailer.storage.machine_clock"],
    [
        "mailer.messages.placeholders",
        "mailer.settings.names",
        "mailer.settings.env_file",
        "mailer.settings.site_address",
        "mailer.settings.listening",
    ],
    ["mailer.storage.database_errors"],
    [
        "mailer.messages.html_part.names",
        "mailer.messages.segments",
        "mailer.messages.html_part.markup",
        "mailer.messages.html_part.linkify",
    ],
    ["mailer.messages.text_part.rough"],
    ["mailer.messages.text_part.plaintext"],
    ["mailer.messages.html_part.body", "mailer.messages.html_part.plain_body", "mailer.messages.parts"],
    ["mailer.settings.settings"],
    [
        "mailer.files.text",
        "mailer.files.cells",
        "mailer.files.headings",
        "mailer.files.tables",
        "mailer.directory.changes",
    ],
    ["mailer.files.spreadsheets", "mailer.files.json_streams", "mailer.directory.user_tables"],
    ["mailer.suppression.list_reader"],
    ["mailer.storage.base"],
    ["mailer.storage.suppression_models"],
    ["mailer.storage.models", "mailer.directory.readers", "mailer.suppression.list_writer"],
    [
        "mailer.selector",
        "mailer.delivery.retry",
        "mailer.delivery.blame",
        "mailer.directory.documents",
        "mailer.storage.sqlite_writes",
    ],
    ["mailer.storage.standing", "mailer.storage.time_limits"],
    ["mailer.storage.group_commit"],
    ["mailer.storage.database", "mailer.storage.migrations"],
    [
        "mailer.suppression.wishes",
        "mailer.directory.known_users",
        "mailer.directory.staged_users",
        "mailer.workspace.salvage",
        "mailer.messages.links",
    ],
    [
        "mailer.messages.template",
        "mailer.suppression.unsubscribes",
        "mailer.directory.imports",
        "mailer.suppression.lists",
        "mailer.delivery.circuit_breaker",
    ],
    ["mailer.workspace.client"],
    ["mailer.workspace.user_list"],
    [
        "mailer.audience.conditions",
        "mailer.audience.shared_addresses",
        "mailer.workspace.sync",
        "mailer.storage.scheduled_tasks",
        "mailer.delivery.worklist",
        "mailer.delivery.ledger",
        "mailer.suppression.refused_addresses",
        "mailer.suppression.blocks",
        "mailer.delivery.same_refusals",
        "mailer.delivery.trouble",
        "mailer.delivery.resting",
        "mailer.delivery.hold",
        "mailer.delivery.outbox",
    ],
    ["mailer.delivery.attempt", "mailer.directory.users", "mailer.campaigns.draft"],
    [
        "mailer.campaigns.accept",
        "mailer.campaigns.control",
        "mailer.storage.clock_watch",
        "mailer.campaigns.planning",
        "mailer.campaigns.progress",
        "mailer.delivery.deliverer",
        "mailer.callers.tokens",
        "mailer.callers.rate_limits",
    ],
    [
        "mailer.workspace.scheduled_sync",
        "mailer.campaigns.invariants",
        "mailer.callers.workspace",
        "mailer.callers.sessions",
        "mailer.campaigns.export",
        "mailer.campaigns.retention",
        "mailer.audience.preview",
        "mailer.campaigns.review",
    ],
    ["mailer.callers.workspace_sessions"],
    ["mailer.api.schemas", "mailer.api.audience_schemas", "mailer.pages", "mailer.engines", "mailer.api"],
    ["app"],
    ["mailer.cli", "wsgi"],
]
PACKAGE = "__init__.py"
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
    return next((known for n in (4, 3, 2, 1) if (known := ".".join(parts[:n])) in RANK), None)


@pytest.mark.parametrize("path", [p for p in SOURCES if "transports" not in p.parts], ids=module_name)
def test_rooms_import_downwards_only(path: Path) -> None:
    name = module_name(path)
    here = room(name)
    assert here or PACKAGE in path.parts[-1], f"{name} has no place in LAYERS"
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
        "transports.webhook.transport",
        "transports.webhook.exchange",
        "transports.network_errors",
        "mailer.cli",
        "mailer.workspace.client",
        "mailer.callers.workspace_sessions",
    },
    "environs": {"mailer.settings.settings", "mailer.settings.readers"},
    "dotenv": {"mailer.settings.env_file"},
    "gunicorn": set(),
}


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_outside_is_touched_in_few_places(path: Path) -> None:
    name = module_name(path)
    for library, allowed in RESERVED.items():
        if any(used.split(".")[0] == library for used in imports(path)):
            assert any(name == place or name.startswith(place + ".") for place in allowed), f"{name} uses {library}"


@pytest.mark.parametrize("path", [p for p in SOURCES if module_name(p) != "mailer.settings.settings"], ids=module_name)
def test_only_settings_read_the_environment(path: Path) -> None:
    source = path.read_text("utf-8")
    assert "os.environ" not in source or "mailer/cli/" in path.as_posix()
    assert "os.getenv" not in source


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_module_is_short_enough_to_read(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 250
