"""What the documentation says is what the code does: settings, errors, commands, transports, paths, states, files."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest

from app import create_app
from mailer import errors
from mailer.api.errors import HTTP_TYPES
from mailer.api.schemas import MailerSchema
from mailer.audit.log import Act
from mailer.campaigns.progress import CANCELLING
from mailer.campaigns.stops import BLOCKED, HELD
from mailer.cli import main
from mailer.delivery import retry
from mailer.messages.addresses import Mailbox
from mailer.messages.layout import TemplateSource
from mailer.messages.recipient import Recipient
from mailer.messages.template import compile_message
from mailer.selector import compile_selector, limits, parse_query
from mailer.settings import AUTH_TOKEN, SECRET_VARIABLES, Settings
from mailer.storage.models import BatchState, CampaignState, DeliveryStatus
from tests import doc_session
from tests.celery_engine import RABBITMQ, own_queue
from tests.databases import migrated_sqlite
from tests.doc_pages import PAGES, ROOT, anchors, blocks, codes, inline_code, links, long_lines, prose, section, table
from transports import TransportConfigError, from_url
from transports.smtp.settings import SMTPSettings

README = ROOT / "README.md"
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
LONG = {"operations.md", "operating-a-week.md", "engines.md"}  # half a minute of commands
SESSIONS = [
    pytest.param(page, marks=pytest.mark.ci if page.name in LONG else (), id=page.name)
    for page in PAGES
    if any(block.words[:1] == ("sh",) for block in blocks(page))
]
SCHEMES = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]["mailer.transports"]
CLIENT_VARIABLES = {"MAILER_USER_ID", "MAILER_AUTH_TOKEN"}  # of the command line, not of the service


def name_of(page: Path) -> str:
    return page.name


def shown(value: object) -> str:
    return f"`{value}`" if value not in ("", (), None) else "none"


def test_settings_table_has_every_setting_with_its_default() -> None:
    rows = table(prose(REFERENCE / "settings.md"), "variable", "default")
    documented = {codes(row[0])[0]: row[1] for row in rows}
    actual = {f"MAILER_{field.name.upper()}": shown(field.default) for field in fields(Settings)}
    assert documented == actual
    assert all(row[2] for row in rows)


def test_readme_is_read_in_a_few_minutes() -> None:
    assert len(README.read_text("utf-8").split()) <= 1500


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_prose_has_short_lines(page: Path) -> None:
    assert not long_lines(page, 110)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_has_nothing_left_of_a_merge(page: Path) -> None:
    assert not re.findall(r"^(?:<{7}|={7}|>{7}).*$", page.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_names_no_setting_that_there_is_not(page: Path) -> None:
    known = {f"MAILER_{field.name.upper()}" for field in fields(Settings)} | CLIENT_VARIABLES
    known |= {f"{name}_FILE" for name in (*SECRET_VARIABLES, AUTH_TOKEN)}
    assert set(re.findall(r"MAILER_[A-Z_]*[A-Z]", page.read_text("utf-8"))) <= known


def test_request_table_has_every_field() -> None:
    documented = {codes(row[0])[0]: row[2] for row in table(section(REFERENCE / "http.md", "The request"), "field")}
    names = {field.data_key or name for name, field in MailerSchema().fields.items()}
    required = {"from", "subject", "body"}
    assert documented == {name: "required" if name in required else "optional" for name in names}


def test_placeholder_table_has_what_is_replaced() -> None:
    rows = table(section(REFERENCE / "http.md", "Placeholders"), "placeholder")
    documented = "".join(code for row in rows for code in codes(row[0]))
    source = TemplateSource(
        "c1", Mailbox("", "a@example.org"), "s", documented, site_name="Site", site_url="http://s.example"
    )
    shown = compile_message(source).preview(Recipient("u1", "Ann Lee", "ann@example.org"), "http://s.example/u").html
    assert documented.count("[") == 7
    assert "[" not in shown


def test_limits_of_queries_are_those_of_the_code() -> None:
    row = next(row for row in table(section(DOCS / "operations.md", "Limits"), "what") if row[0] == "a query")
    shown = [int(number.replace(",", "")) for number in re.findall(r"[0-9,]*[0-9]", row[1])]
    assert shown == [limits.MAX_TEXT, limits.MAX_DEPTH, limits.MAX_IN]


def error_types(of: type[errors.MailerError] = errors.MailerError) -> Iterator[str]:
    for kind in of.__subclasses__():
        yield kind.error_type
        yield from error_types(kind)


def test_errors_are_documented_with_their_status() -> None:
    rows = table(section(REFERENCE / "errors.md", "Errors"), "status")
    documented = {kind: int(row[0]) for row in rows for kind in codes(row[1])}
    kinds = (*errors.MailerError.__subclasses__(), errors.JournalUnavailable)
    over_http = {kind.error_type: kind.status for kind in kinds}
    offline = over_http.pop("error-invalid-user")
    assert offline
    assert set(over_http) <= set(error_types())
    assert documented == {**over_http, **{kind: status for status, kind in HTTP_TYPES.items()}}
    assert "error-invalid-user" in inline_code(REFERENCE / "errors.md")


def options_of(scheme: str) -> set[str]:
    """What the transport itself lists when it meets an option it does not know."""
    with pytest.raises(TransportConfigError, match="known options") as caught:
        from_url(f"{scheme}:?no_such_option=1" if scheme == "console" else f"{scheme}:x?no_such_option=1")
    listing = str(caught.value).partition("known options: ")[2]
    return set(listing.split(", ")) - {"none"}


def test_transports_are_documented_by_scheme() -> None:
    rows = table(section(REFERENCE / "transports.md", "Transports"), "URL")
    assert {codes(row[0])[0].partition(":")[0] for row in rows} == set(SCHEMES)


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_transport_options_are_documented(scheme: str) -> None:
    text = section(REFERENCE / "transports.md", "Transports")
    rows = table(text, "URL")
    where = next(row[1] for row in rows if codes(row[0])[0].startswith(f"{scheme}:"))
    if scheme.startswith("smtp"):
        sections = [section(REFERENCE / "transports.md", name) for name in ("SMTP", "How much is sent")]
        where = " ".join(row[0] for one in sections for row in table(one, "option"))
    elif "#signing" in where:
        where = " ".join(row[0] for row in table(section(REFERENCE / "transports.md", "Signing"), "option"))
    elif "#how-much-is-sent" in where:
        where += " ".join(row[0] for row in table(section(REFERENCE / "transports.md", "How much is sent"), "option"))
    documented = {code.partition("=")[0] for code in codes(where) if "=" in code}
    assert documented == options_of(scheme)


def test_smtp_defaults_are_those_of_the_code() -> None:
    rows = table(section(REFERENCE / "transports.md", "Transports"), "option")
    documented = {codes(row[0])[0].strip("="): row[1].strip("`") for row in rows}
    actual = SMTPSettings.from_url("smtp://127.0.0.1")
    assert documented["connections"] == str(actual.connections)
    assert documented["max_messages"] == str(actual.max_messages)
    assert documented["idle"] == f"{actual.idle:g}s"
    assert documented["connect_timeout"] == f"{actual.connect_timeout:g}s"
    assert documented["command_timeout"] == f"{actual.timeouts.command:g}s"
    assert documented["data_timeout"] == f"{actual.timeouts.end_of_data:g}s"
    assert documented["pipelining"] == ("yes" if actual.pipelining else "no")
    assert documented["bdat"] == ("yes" if actual.bdat else "no")
    assert (documented["rate"], actual.rate) == ("none", None)


def commands(group: click.Group, before: str = "mailer") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        path = f"{before} {name}"
        found |= commands(command, path) if isinstance(command, click.Group) else {path: command}
    return found


COMMANDS = commands(main)


def test_command_table_has_every_command() -> None:
    documented = [codes(row[0])[0] for row in table(prose(REFERENCE / "command-line.md"), "command")]
    assert {re.sub(r" [A-Z]+$", "", command) for command in documented} == set(COMMANDS)


def options(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts} | {"--help", "-h"}


def test_command_table_names_true_options() -> None:
    for row in table(prose(REFERENCE / "command-line.md"), "command"):
        command = COMMANDS[re.sub(r" [A-Z]+$", "", codes(row[0])[0])]
        assert {code.split()[0] for code in codes(row[1]) if code.startswith("--")} <= options(command), row


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_inline_commands_exist(page: Path) -> None:
    for code in inline_code(page):
        if not code.startswith("mailer ") or "COMMAND" in code or code == "mailer --help":
            continue
        words = shlex.split(code)
        known = [path for path in COMMANDS if words[: len(path.split())] == path.split()]
        groups = {path.rpartition(" ")[0] for path in COMMANDS}
        assert known or code in groups, f"{page.name}: {code}"
        for path in known:
            assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options(COMMANDS[path]), code


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    folder = tmp_path_factory.mktemp("docs")
    app = create_app(Settings(migrated_sqlite(folder / "mailer.db"), secret_key=("k" * 40,), metrics="true"))
    methods = ("GET", "POST", "PUT", "PATCH", "DELETE")
    found = {
        (method, rule.rule.replace("<string:", "<").replace("<path:token>", "<token>"))
        for rule in app.url_map.iter_rules()
        for method in methods
        if method in rule.methods
    }
    app.extensions["mailer"].db.close()
    return found


def test_http_table_has_every_path(rules: set[tuple[str, str]]) -> None:
    rows = [codes(row[0])[0] for row in table(prose(REFERENCE / "http.md"), "request")]
    documented = {tuple(row.split()) for row in rows}
    files = {rule for rule in rules if "<path:" in rule[1] or rule[1].startswith("/docs") or rule[1].endswith(".css")}
    shown = {(method, re.sub(r"<\w+:(\w+)>", r"<\1>", path)) for method, path in rules - files}
    assert documented - {("GET", "/docs/")} == shown


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_paths_in_prose_exist(page: Path, rules: set[tuple[str, str]]) -> None:
    shapes = {(method, re.sub(r"<[^>]+>", "<>", path)) for method, path in rules}
    for code in inline_code(page):
        found = re.fullmatch(r"(GET|POST|PUT|PATCH|DELETE) (/\S*)", code)
        if found:
            assert (found[1], re.sub(r"<[^>]+>", "<>", found[2]).partition("?")[0]) in shapes, f"{page.name}: {code}"


QUERIES = [codes(row[1])[0] for row in table(section(DOCS / "queries.md", "Queries that people use"), "who")]


@pytest.mark.parametrize("query", QUERIES)
def test_example_query_is_accepted(query: str) -> None:
    parsed = parse_query(query)
    assert parsed
    compile_selector(parsed)


@pytest.mark.parametrize(
    ("heading", "states"),
    [
        ("Campaigns", [*CampaignState, HELD, BLOCKED, CANCELLING]),
        ("Batches", BatchState),
        ("Deliveries", DeliveryStatus),
    ],
    ids=["campaigns", "batches", "deliveries"],
)
def test_states_are_documented(heading: str, states: Iterable[str]) -> None:
    documented = [codes(row[0])[0] for row in table(section(DOCS / "delivery.md", heading), "state")]
    assert documented == [str(state) for state in states]


def test_acts_of_the_audit_log_are_documented() -> None:
    rows = table(section(DOCS / "operators.md", "The audit log"), "act")
    assert [code for row in rows for code in codes(row[0])] == list(Act)


def test_retry_tables_are_those_of_the_code() -> None:
    recipients = table(section(DOCS / "delivery.md", "When a recipient is tried again"), "after failure")
    transports = table(section(DOCS / "delivery.md", "When the transport fails"), "after failure")
    assert [int(row[1].split()[0]) * retry.MINUTE for row in recipients] == list(retry.RECIPIENT_DELAYS)
    assert [int(row[1].split()[0]) * 1000 for row in transports] == list(retry.TRANSPORT_DELAYS)


def test_architecture_names_every_room() -> None:
    rows = table(section(DOCS / "architecture.md", "The rooms"), "room")
    named = {code for row in rows for cell in row for code in codes(cell)}
    folders = [path for top in ("mailer", "transports") for path in [ROOT / top, *(ROOT / top).rglob("*")]]
    rooms = [path for path in folders if any(path.glob("*.py")) and "migrations" not in path.parts]
    shown = {f"{path.relative_to(ROOT)}/" for path in rooms if path != ROOT / "mailer"}
    shown |= {str(path.relative_to(ROOT)) for path in (ROOT / "mailer").glob("*.py") if path.name != "__init__.py"}
    shown |= {path.name for path in ROOT.glob("*.py")}
    missing = {name for name in shown if name not in named and f"{Path(name).name}/" not in named}
    assert not missing


def test_log_lines_are_those_of_the_code() -> None:
    rows = table(section(DOCS / "operations.md", "Watching it"), "line")
    source = "".join(
        path.read_text("utf-8")
        for path in [ROOT / "app.py", *(p for f in ("mailer", "transports") for p in (ROOT / f).rglob("*.py"))]
    )
    missing = [row[0] for row in rows if codes(row[0])[0].rstrip("… ,:") not in source]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists() or path.startswith("https://"), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize("picture", sorted((DOCS / "images").glob("*.svg")), ids=name_of)
def test_picture_can_be_read_and_says_what_it_shows(picture: Path) -> None:
    root = ElementTree.parse(picture).getroot()
    assert root.findtext("{http://www.w3.org/2000/svg}title")


FILE = re.compile(r"(?:\.?[\w-]+/)*[\w.-]+\.(?:py|md|toml|json|txt|mjs)")
MADE_LATER = re.compile(r"(instance|outbox|bench/out)/.*|index\.ndjson|.*_transport_spool\.py")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_in_prose_exist(page: Path) -> None:
    for code in inline_code(page):
        if FILE.fullmatch(code) and "/" in code and not MADE_LATER.fullmatch(code):
            assert (ROOT / code).exists() or (ROOT / "mailer" / code).exists(), f"{page.name}: {code}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"`(?:\w+=\S+ )?make ([\w-]+)`", prose(page))) <= targets


@pytest.mark.slow
@pytest.mark.timeout(330)  # the longest page starts forty commands, and takes 50 s beside other tests
@pytest.mark.parametrize("page", SESSIONS)
def test_commands_of_page_work_top_to_bottom(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    missing = doc_session.available()
    if missing:
        pytest.skip(f"needs {missing}")
    stores = {}
    if page.name == "engines.md":
        database = str(request.getfixturevalue("postgresql_url")).replace("+psycopg", "")
        stores = {"database": database, "broker": RABBITMQ, "MAILER_BROKER_QUEUE": own_queue(RABBITMQ)["broker_queue"]}
    doc_session.run(page, tmp_path, **stores)
    for block, output in doc_session.expected_outputs(page):
        actual = doc_session.printed(tmp_path, block)
        assert doc_session.same(output.words[0], output.text, actual), f"{page.name}:{output.line}\n{actual}"
