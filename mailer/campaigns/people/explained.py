"""An explanation as the API and `mailer explain --json` write it."""

from __future__ import annotations

from typing import Any

from mailer.campaigns.people.explain import Answer, ExplainedUser, Explanation, Outcome
from mailer.campaigns.people.export import event_as_json, person_as_json
from mailer.campaigns.people.named import ExplainedAddress
from mailer.times import to_iso

OF_PERSON = ("state", "unsubscribed", "suppressed", "history")


def explanation_as_json(found: Explanation) -> dict[str, Any]:
    """The whole answer with the names and times of the API."""
    return {
        "users": [_user(one) for one in found.users],
        "address": None if found.address is None else _address(found.address),
        "twice": [
            {"how": one.how.value, "text": one.text, "campaigns": [*one.campaigns], "users": [*one.users]}
            for one in found.copies
        ],
        "next": found.following,
    }


def _user(one: ExplainedUser) -> dict[str, Any]:
    known = dict.fromkeys(OF_PERSON) | {"username": None, "address": None}
    if one.person is not None:
        told = person_as_json(one.person)
        known = {name: told[name] for name in OF_PERSON}
        known |= {"username": one.person.user.username, "address": one.person.user.email}
    return {"_id": one.user_id, **known, "campaigns": [_answer(answer) for answer in one.answers]}


def _answer(one: Answer) -> dict[str, Any]:
    return {
        "campaignId": one.campaign_id,
        "subject": one.subject,
        "callerId": one.caller_id,
        "state": one.state,
        "dryrun": one.dry_run,
        "createdAt": to_iso(one.created_at),
        "reason": one.reason.code.value,
        "text": one.reason.text,
        "outcome": None if one.outcome is None else _outcome(one.outcome),
        "versions": one.versions,
    }


def _outcome(one: Outcome) -> dict[str, Any]:
    return {
        "status": one.status,
        "address": one.address,
        "attempts": one.attempts,
        "uncertainAttempts": one.uncertain_attempts,
        "reply": one.reply,
        "messageId": one.message_id,
        "firstAt": to_iso(one.first_at),
        "updatedAt": to_iso(one.updated_at),
        "nextAttemptAt": None if one.next_attempt_at is None else to_iso(one.next_attempt_at),
        **one.reported.as_json(),
        "version": one.version,
    }


def _address(one: ExplainedAddress) -> dict[str, Any]:
    return {
        "history": [event_as_json(event) for event in one.events],
        "suppressedSince": None if one.suppressed_at is None else to_iso(one.suppressed_at),
        "complainedAt": None if one.complained_at is None else to_iso(one.complained_at),
        "erased": one.erased,
        "campaigns": one.campaigns,
    }
