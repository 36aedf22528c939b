"""What import-linter does not say of the house: how long a module may be, how full a room, who asks the environment."""

from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [*(ROOT / "mailer").rglob("*.py"), *(ROOT / "transports").rglob("*.py"), ROOT / "app.py", ROOT / "wsgi.py"]
READ_THE_ENVIRONMENT = {"mailer/settings/settings.py"}
SHORT = {  # a role of its own that takes no more: beside another role it would be hard to find
    "mailer/audit/retention.py",
    "mailer/api/mailpit/routes.py",
    "mailer/bounces/providers/basic_auth.py",
    "mailer/bounces/providers/registry.py",
    "mailer/api/requests/outcomes.py",
    "mailer/api/requests/uploads.py",
    "mailer/callers/revocation.py",
    "mailer/campaigns/recovery/restored.py",
    "mailer/campaigns/reports/attention.py",
    "mailer/cli/commands/audience.py",
    "mailer/cli/commands/doctor.py",
    "mailer/cli/commands/users/group.py",
    "mailer/cli/imported_commands.py",
    "mailer/delivery/checkpoints/failing.py",
    "mailer/delivery/checkpoints/journaled.py",
    "mailer/delivery/due_batch.py",
    "mailer/engines/foreground.py",
    "mailer/engines/presence.py",
    "mailer/logs/context.py",
    "mailer/interception/redirected.py",
    "mailer/mailbox/forgetting.py",
    "mailer/metrics/optional.py",
    "mailer/observer.py",
    "mailer/messages/recipient.py",
    "mailer/messages/text_part/media_queries.py",
    "mailer/selector/columns.py",
    "mailer/selector/database.py",
    "mailer/selector/limits.py",
    "mailer/selector/sql/sqlite_functions.py",
    "mailer/pages/parts.py",
    "mailer/pages/system/events.py",
    "mailer/pages/system/settings_page.py",
    "mailer/settings/combinations.py",
    "mailer/settings/advice.py",
    "mailer/settings/env_file.py",
    "mailer/settings/listening.py",
    "mailer/storage/database_errors.py",
    "mailer/storage/health.py",
    "mailer/storage/models/audit.py",
    "mailer/storage/models/drafts.py",
    "mailer/storage/models/base.py",
    "mailer/storage/models/workers.py",
    "mailer/timeline/retention.py",
    "mailer/times.py",
    "transports/around.py",
    "wsgi.py",
}


def place(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=place)
def test_module_is_short_enough_to_read(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 250


def test_module_is_long_enough_to_be_worth_a_name_or_is_known_to_be_short() -> None:
    modules = [path for path in SOURCES if path.name != "__init__.py" and "migrations" not in path.parts]
    short = {place(path) for path in modules if len(path.read_text("utf-8").splitlines()) < 40}
    assert not short - SHORT
    assert {place(path) for path in modules} >= SHORT


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name == "__init__.py"], ids=place)
def test_package_file_has_no_logic(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert not [line for line in lines if line.startswith(("def ", "class ", "if ", "for "))]
    assert lines == [] or lines[0].startswith('"""')


def test_room_is_small_enough_to_read_at_a_glance() -> None:
    modules = [path for path in SOURCES if path.name != "__init__.py" and "migrations" not in path.parts]
    rooms = Counter(place(path.parent) for path in modules)
    assert {room: count for room, count in rooms.items() if count > 15} == {}


@pytest.mark.parametrize("path", [path for path in SOURCES if place(path) not in READ_THE_ENVIRONMENT], ids=place)
def test_only_settings_read_the_environment(path: Path) -> None:
    source = path.read_text("utf-8")
    assert "os.environ" not in source
    assert "os.getenv" not in source
