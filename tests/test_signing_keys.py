"""Signing keys: what is written down of each, who is warned of a missing one, and which may go."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import event, select, update

from app import create_app
from mailer.audit.log import Act, entries
from mailer.campaigns.planning import Planner
from mailer.campaigns.signing.keys import HOUR, SigningKeys
from mailer.campaigns.signing.needed import YEAR, Role, forget_key, known_keys, missing_keys
from mailer.cli import main
from mailer.delivery.deliverer import Deliverer
from mailer.delivery.outbox import Outbox
from mailer.errors import InvalidState, NotFound
from mailer.messages.links import Links, fingerprint
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import Campaign, SigningKey
from tests.databases import migrated_sqlite
from tests.harness import START, Harness

OLD, NEW = "o" * 40, "n" * 40
PRINTS = {OLD: fingerprint(OLD), NEW: fingerprint(NEW)}


class Signing(Harness):
    """A process that signs with the first of `keys`; start another with another over the same database."""

    def start(self, *keys: str) -> SigningKeys:
        """A process begins anew, with these keys."""
        links = Links(keys, "http://x")
        self.keys = SigningKeys(self.db, links.fingerprints)
        self.outbox = Outbox(self.db, lease=self.lease, batch_ended=self.keys.ended_batch)
        template_of = partial(self.keys.template_of, self.settings)
        self.deliverer = Deliverer(self.outbox, self.transport, links, self.settings, template_of)
        self.keys.register()
        return self.keys

    def _planner(self, db: Database) -> Planner:
        return Planner(db, self.settings.batch_size, self.lease, keys=self.keys)

    def row(self, key: str) -> tuple[int | None, int, int | None]:
        """When it last signed, how many messages, and when it was last used."""
        mine = select(SigningKey.last_signed_at, SigningKey.messages, SigningKey.last_used_at)
        with self.db.read() as connection:
            return tuple(connection.execute(mine.where(SigningKey.fingerprint == PRINTS[key])).one())


@pytest.fixture
def signing(db: Database, add_users) -> Signing:
    add_users(db, 25)
    made = Signing(db)
    made.start(OLD)
    return made


def test_campaign_counts_its_recipients_for_the_key_that_signs(signing: Signing) -> None:
    assert signing.row(OLD) == (None, 0, None)
    signing.accept()
    signing.run()
    signing.accept(dry_run=True)
    signing.run()
    assert signing.row(OLD) == (START, 26, None)


def test_process_with_another_key_counts_who_is_left(signing: Signing) -> None:
    signing.accept()
    signing.plan()
    signing.deliverer.run_next(lambda: False)
    sent = len(signing.arrived())
    assert 0 < sent < 25
    signing.now += 5
    signing.start(NEW, OLD)
    signing.run()
    assert signing.row(OLD) == (START, 25, None)
    assert signing.row(NEW) == (START + 5, 25 - sent, None)


def test_nothing_is_written_for_a_message_and_for_a_batch_once_an_hour(signing: Signing) -> None:
    written: list[str] = []
    engine = signing.db.engine

    @event.listens_for(engine, "before_cursor_execute")
    def note(_connection, _cursor, statement: str, *_rest: object) -> None:
        if "signing_keys" in statement and not statement.lstrip().upper().startswith("SELECT"):
            written.append(statement)

    signing.accept()
    signing.run()
    assert len(written) == 2  # it was planned, and the first of three batches ended
    signing.accept()
    signing.run()
    assert len(written) == 3
    signing.now += HOUR + 1
    signing.accept()
    signing.run()
    assert len(written) == 5
    assert signing.row(OLD) == (START + HOUR + 1, 75, None)


def test_process_that_signs_for_nobody_counts_nothing(signing: Signing) -> None:
    signing.keys = SigningKeys(signing.db, [PRINTS[OLD]], signs=False)
    signing.accept()
    signing.plan()
    signing.keys.template_of(signing.settings, signing.campaign_id)
    assert signing.row(OLD) == (None, 0, None)


def test_key_may_go_a_year_after_it_last_signed_and_was_last_used(signing: Signing) -> None:
    signing.accept()
    signing.run()
    both = [PRINTS[NEW], PRINTS[OLD]]
    signing.start(NEW, OLD)
    assert [(one.role, one.may_go) for one in known_keys(signing.db, both)] == [
        (Role.SIGNS, False),
        (Role.VERIFIES, False),
    ]
    links = Links((NEW, OLD), "http://x")
    token = Links((OLD,), "http://x").link("user00001").rpartition("/")[2]
    signing.now = START + HOUR
    signing.keys.used(links, token + ">")
    signing.now += HOUR
    signing.keys.used(links, token)  # not an hour later
    signing.keys.used(links, "nonsense")
    assert signing.row(OLD) == (START, 25, START + HOUR)
    assert signing.row(NEW) == (None, 0, None)
    signing.now = START + YEAR
    assert not known_keys(signing.db, both)[1].may_go
    signing.now = START + HOUR + YEAR
    old = known_keys(signing.db, both)[1]
    assert (old.may_go, old.may_go_at) == (True, signing.now)
    assert not known_keys(signing.db, both)[0].may_go


def test_missing_key_is_warned_of_with_its_number_until_its_links_are_a_year_old(signing: Signing) -> None:
    signing.accept()
    signing.run()
    signing.start(NEW)
    (told,) = missing_keys(signing.db, [PRINTS[NEW]])
    assert told == (
        f"MAILER_SECRET_KEY lacks the key {PRINTS[OLD]}: unsubscribe links of up to 25 messages, the last at "
        "2023-11-14T22:13:20Z lead nowhere; add it behind the first"
    )
    assert missing_keys(signing.db, [PRINTS[NEW], PRINTS[OLD]]) == []
    signing.now = START + YEAR
    assert missing_keys(signing.db, [PRINTS[NEW]]) == []


def test_key_that_only_verified_is_missed_too_and_forgotten_by_a_person(signing: Signing) -> None:
    signing.start(NEW, OLD)
    (told,) = missing_keys(signing.db, [PRINTS[NEW]])
    assert f"{PRINTS[OLD]}, which has signed nothing since it is known here" in told
    assert f"`mailer keys forget {PRINTS[OLD]}`" in told
    with pytest.raises(InvalidState):
        forget_key(signing.db, PRINTS[NEW], [PRINTS[NEW]])
    forget_key(signing.db, PRINTS[OLD], [PRINTS[NEW]])
    with pytest.raises(NotFound):
        forget_key(signing.db, PRINTS[OLD], [PRINTS[NEW]])
    assert missing_keys(signing.db, [PRINTS[NEW]]) == []
    (logged,) = entries(signing.db, act=Act.FORGET_KEY)
    assert (logged.about, logged.details) == (PRINTS[OLD], {"messages": 0})


def test_fingerprint_is_no_part_of_the_key_and_the_same_everywhere() -> None:
    assert PRINTS[OLD] == fingerprint(OLD) != PRINTS[NEW]
    assert Links((NEW, OLD), "http://x").fingerprints == [PRINTS[NEW], PRINTS[OLD]]


def test_service_notes_use_and_warns_and_the_command_says_which_may_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, add_users
) -> None:
    url = migrated_sqlite(tmp_path / "mailer.db")
    first = create_app(Settings(database_url=url, secret_key=(OLD,)))
    db = first.extensions["mailer"].db
    add_users(db, 1)
    link = first.extensions["mailer"].links.link("user00000").partition(":8000")[2]
    assert first.test_client().get(link).status_code == 200
    with db.read() as connection:
        assert connection.scalar(select(SigningKey.last_used_at)) is None  # to look is not to use
    assert first.test_client().post(link).status_code == 200
    with db.write() as connection:
        connection.execute(update(SigningKey).values(messages=12_345, last_signed_at=SigningKey.known_at))
    second = create_app(Settings(database_url=url, secret_key=(NEW,)))
    ready = second.test_client().get("/readyz").get_json()
    (told,) = [one for one in ready["warnings"] if one.startswith("keys: ")]
    assert f"lacks the key {PRINTS[OLD]}: unsubscribe links of up to 12,345 messages" in told
    second.extensions["mailer"].db.close()
    assert [one for one in first.test_client().get("/readyz").get_json()["warnings"] if NEW in one] == []
    db.close()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_DATABASE_URL", url)
    monkeypatch.setenv("MAILER_SECRET_KEY", NEW)
    run = CliRunner().invoke
    checked = json.loads(run(main, ["config", "check", "--json"]).stdout)
    assert [one for one in checked["warnings"] if PRINTS[OLD] in one]
    found = {one["fingerprint"]: one for one in json.loads(run(main, ["keys", "list", "--json"]).stdout)}
    assert (found[PRINTS[NEW]]["role"], found[PRINTS[NEW]]["mayGoAt"]) == ("signs", None)
    old = found[PRINTS[OLD]]
    assert (old["role"], old["messages"], old["mayGo"]) == ("missing", 12_345, False)
    assert old["lastUsedAt"] is not None
    listed = run(main, ["keys", "list"])
    assert "not before" in listed.stdout
    assert NEW not in listed.stdout + json.dumps(found)
    assert run(main, ["keys", "forget", "x"]).exit_code == 2
    assert run(main, ["keys", "forget", PRINTS[NEW]]).exit_code == 1
    assert run(main, ["keys", "forget", PRINTS[OLD]]).stdout == f"forgotten: {PRINTS[OLD]}\n"


def test_campaign_remembers_its_key_by_fingerprint(signing: Signing) -> None:
    signing.accept()
    signing.plan()
    with signing.db.read() as connection:
        assert connection.scalar(select(Campaign.signing_key)) == PRINTS[OLD]
