"""Everybody who must not be written to, with the reasons: as one file, and from the files of other services."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask_smorest import Blueprint
from marshmallow import fields, validate

from mailer.api.blueprint import CSV, NDJSON, ApiBlueprint, RawFormatSchema, download, upload_body
from mailer.api.guard import Guard, current_caller
from mailer.api.requests.fields import one_line
from mailer.api.requests.uploads import uploaded_text
from mailer.api.schemas import StrictSchema, SuccessSchema
from mailer.files.exports import write_rows
from mailer.storage.database import Database
from mailer.storage.erased.people import count_erased
from mailer.suppression.exchange.entries import Entry, Why
from mailer.suppression.exchange.everybody import everybody
from mailer.suppression.exchange.importing import UNNAMED, import_entries, left_out
from mailer.suppression.exchange.reading import read_entries

PERMISSION = "manage-users"
JSON = "application/json"


class ImportSchema(StrictSchema):
    """How to read a list."""

    name = fields.String(
        data_key="list",
        load_default="",
        validate=[validate.Length(max=255), one_line],
        metadata={"description": "What the list is called. It is kept with what the list brings."},
    )
    reason = fields.Enum(
        Why,
        by_value=True,
        load_default=None,
        metadata={
            "type": "string",
            "enum": [why.value for why in Why],
            "description": "Of every row. Absent: the columns of the list tell.",
        },
    )
    everything = fields.Boolean(
        data_key="all",
        load_default=False,
        metadata={"description": "Take bounces too that are soft, or about the sender or the message."},
    )
    dry_run = fields.Boolean(
        data_key="dryRun", load_default=False, metadata={"description": "Read the list only, and count its rows."}
    )


class TakenOverSchema(SuccessSchema):
    """The rows of a list by reason, what came of them, and how the list was read."""

    unsubscribed = fields.Integer()
    refused = fields.Integer()
    bounced = fields.Integer()
    complained = fields.Integer()
    blocked = fields.Integer()
    newly_unsubscribed = fields.Integer(
        data_key="newlyUnsubscribed", metadata={"description": "Users who were written to before."}
    )
    suppressed = fields.Integer(metadata={"description": "Addresses that were written to before."})
    unmatched = fields.Integer(metadata={"description": "Wishes of nobody yet, kept for whoever comes."})
    erased = fields.Integer(metadata={"description": "Rows about people who were erased, which are left out."})
    left_out = fields.Integer(
        data_key="leftOut", metadata={"description": "Bounces that are not about the address, or not for good."}
    )
    such_as = fields.String(data_key="suchAs", metadata={"description": "What the first row that was left out says."})
    notes = fields.List(fields.String())


def make_blueprint(db: Database, guard: Guard) -> Blueprint:
    """Routes that export and import all reasons at once."""
    blueprint = ApiBlueprint("Not written to", __name__, url_prefix="/api/v1/mailer")

    @blueprint.route("/not-written-to/export")
    @guard.requires(PERMISSION)
    @blueprint.arguments(RawFormatSchema, location="query")
    @blueprint.response(200, content_type="text/csv")
    def export_everybody(wanted: dict[str, Any]) -> Any:
        """Everybody who must not be written to, since when and why, as CSV or NDJSON, which the import reads again."""
        rows = (one.cells() for one in everybody(db))
        lines = write_rows(wanted["form"], Entry.COLUMNS, rows, raw=wanted["raw"])
        return download(lines, "not-written-to", wanted["form"], erased=count_erased(db))

    @blueprint.route("/not-written-to:import", methods=["POST"])
    @guard.requires(PERMISSION, streams=True)
    @blueprint.arguments(ImportSchema, location="query")
    @blueprint.response(200, TakenOverSchema)
    @blueprint.refuses(400, "A list that is not known, or a row that cannot be read")
    @blueprint.doc(requestBody=upload_body(CSV, NDJSON, JSON))
    def import_list(wanted: dict[str, Any]) -> Any:
        """Take over what `export` wrote, or a list of Amazon SES, Mailgun, SendGrid or Postmark: all or nothing."""
        with uploaded_text(CSV, NDJSON, JSON) as file:
            entries = read_entries(file, wanted["reason"])
            by, source = current_caller().user_id, wanted["name"] or UNNAMED
            how = {"dry_run": wanted["dry_run"], "everything": wanted["everything"]}
            done = import_entries(db, entries, by=by, source=source, **how)
            said = [f"Left out: {left_out(done.left_out, done.such_as)}"] if done.left_out else []
            return {"success": True, **asdict(done), "notes": [*file.notes, *said]}

    return blueprint
