"""All that there is about one person, as one JSON document: what the law lets them ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, or_, select

from mailer.audit.log import Act, names_in, record
from mailer.campaigns.people.outcomes import PersonOutcome, all_outcomes
from mailer.campaigns.people.person import Person, read_person
from mailer.storage.database import AnyRow, Database
from mailer.storage.models import AuditEntry
from mailer.suppression.history import PastEvent
from mailer.times import to_iso

ALL = 2**31 - 1


def export_person(db: Database, name: str) -> dict[str, Any]:
    """The person's document, whether they are written to and why not, notes, and every outcome with what came back.

    Also every act in the audit log about them or one of their addresses, or of their own.

    Times are ISO 8601 in UTC. That it was exported is written to the audit log. Raises `NotFound`.
    """
    with db.write() as connection:
        one = read_person(connection, name, ALL)
        acts = [_act_as_json(entry) for entry in _acts(connection, one)]
        outcomes = [outcome_as_json(outcome) for outcome in all_outcomes(connection, one.user.id)]
        record(connection, db.clock(connection), Act.EXPORT_USER, one.user.id)
    return {**person_as_json(one), "acts": acts, "campaigns": outcomes}


def _acts(connection: Connection, one: Person) -> Sequence[AnyRow]:
    """Acts by them and about them, the latest first. Addresses stand in the log as hashes, which are not told."""
    given = one.user.document.get("emails") or []
    addresses = {str(email["address"]) for email in given if email.get("address")} | {one.user.email or one.user.id}
    names = {name for address in sorted(addresses) for name in names_in(connection, address)} | {one.user.id}
    theirs = or_(AuditEntry.who == one.user.id, AuditEntry.about.in_(sorted(names)))
    columns = (AuditEntry.at, AuditEntry.act, AuditEntry.who, AuditEntry.via, AuditEntry.details)
    query = select(*columns, AuditEntry.about).where(theirs).order_by(AuditEntry.id.desc())
    return connection.execute(query).all()


def _act_as_json(row: AnyRow) -> dict[str, Any]:
    told = {"at": to_iso(row.at), "act": row.act, "by": row.who, "via": row.via}  # from where is the operator's affair
    about = None if (row.about or "").startswith(("keyed:", "sha256:")) else row.about
    return {**told, "about": about, "details": row.details}


def person_as_json(one: Person) -> dict[str, Any]:
    """The person with the names and times of the API."""
    return {
        "_id": one.user.id,
        "state": one.user.state.value,
        "document": one.user.document,
        "unsubscribed": _unsubscribed(one),
        "suppressed": _suppressed(one),
        "addressUnsubscribed": one.address_unsubscribed,
        "history": [event_as_json(event) for event in one.history],
        "notes": [{**asdict(note), "at": to_iso(note.at)} for note in one.notes],
    }


def outcome_as_json(one: PersonOutcome) -> dict[str, Any]:
    """An outcome with the names and times of the API."""
    return {
        "campaignId": one.campaign_id,
        "subject": one.subject,
        "callerId": one.caller_id,
        "state": one.state,
        "dryrun": one.dry_run,
        "createdAt": to_iso(one.created_at),
        "status": one.status,
        "address": one.address,
        "attempts": one.attempts,
        "reply": one.reply,
        "updatedAt": to_iso(one.updated_at),
        "nextAttemptAt": None if one.next_attempt_at is None else to_iso(one.next_attempt_at),
        **one.reported.as_json(),
    }


def event_as_json(one: PastEvent) -> dict[str, Any]:
    """An event of the history of unsubscriptions with the names and times of the API."""
    return {
        "at": None if one.at is None else to_iso(one.at),
        "event": one.event,
        "means": one.means,
        "campaignId": one.campaign_id,
        "address": one.address,
        "by": one.who,
        "list": one.source,
    }


def _unsubscribed(one: Person) -> dict[str, Any] | None:
    if one.unsubscription is None:
        return None
    found = one.unsubscription
    because = {"because": found.because.value, "by": found.who, "list": found.source}
    return {"since": to_iso(found.since), **because, "means": found.means.value, "campaignId": found.campaign_id}


def _suppressed(one: Person) -> dict[str, Any] | None:
    if one.refusal is None:
        return None
    refusal = one.refusal
    times = {"since": refusal.suppressed_at, "bouncedAt": refusal.bounced_at, "complainedAt": refusal.complained_at}
    refused = {"campaigns": refusal.campaigns, "reply": refusal.reply, "rule": refusal.rule}
    blocked = {"blockedBy": refusal.blocked_by, "reason": refusal.reason}
    return {name: None if at is None else to_iso(at) for name, at in times.items()} | refused | blocked
