"""Warnings as answers have them: the sentences, and in the same order the codes by which programs know them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from mailer.campaigns.checks.lint import EMPTY
from mailer.campaigns.checks.message_checks import Text, Warned, about_message
from mailer.campaigns.draft import Draft, draft_of
from mailer.campaigns.progress import Progress
from mailer.errors import NotFound
from mailer.settings import Settings
from mailer.storage.database import Database

NO_USERS, UNKNOWN_FIELD, HAD_ENOUGH = "no-users", "unknown-field", "had-enough"
KEPT = 256  # campaigns whose warnings are remembered


def coded(sentences: Iterable[str]) -> list[Warned]:
    """What `lint.about_directory` said, with codes."""
    return [Warned(NO_USERS if one == EMPTY else UNKNOWN_FIELD, one) for one in sentences]


def over_cap(people: int, count: int, unit: str) -> list[Warned]:
    """That some of an audience had enough (MAILER_MAX_PER_PERSON)."""
    return [
        Warned(
            HAD_ENOUGH,
            f"{people:,} of them will be skipped unless it is urgent, as who has had {count} within a {unit} "
            "(MAILER_MAX_PER_PERSON).",
        )
    ]


def warning_fields(warnings: Iterable[Warned]) -> dict[str, list[str]]:
    """The fields of an answer."""
    told = list(warnings)
    return {"warnings": [one.sentence for one in told], "warning_codes": [one.code for one in told]}


def about_draft(settings: Settings, draft: Draft) -> tuple[Warned, ...]:
    """What is probably a slip in the message of a draft."""
    return about_message(settings, text_of(draft))


def text_of(draft: Draft) -> Text:
    """What of a draft is looked at."""
    return Text(draft.subject, draft.body, draft.sender, bool(draft.inline_css))


class CampaignWarnings:
    """Looks at the messages of campaigns when they are read, not when they are accepted; each version once."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db, self._settings = db, settings
        self._known = lru_cache(maxsize=KEPT)(self._look)

    def beside(self, campaign: Progress) -> Progress:
        """The campaign with what is probably a slip in its message, until it is purged."""
        return replace(campaign, slips=tuple((one.code, one.sentence) for one in self.of_message(campaign)))

    def of_message(self, campaign: Progress) -> tuple[Warned, ...]:
        """What is probably a slip in its message."""
        return self._known(campaign.id, campaign.version, campaign.subject)  # a purge empties the subject

    def _look(self, campaign_id: str, _version: int, _subject: str) -> tuple[Warned, ...]:
        try:
            draft = draft_of(self._db, campaign_id)
        except NotFound:
            return ()
        return about_draft(self._settings, draft) if draft.body else ()
