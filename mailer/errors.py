"""The errors that an API caller can get, in Rocket.Chat's form: a sentence, an errorType and details."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class MailerError(Exception):
    """A request that cannot be carried out: HTTP status, errorType, text and details for the response."""

    status = 400
    error_type = "error-mailer"
    text = "The request could not be carried out."
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, text: str | None = None, **details: Any) -> None:
        self.text = text or self.text
        self.details = details
        super().__init__(self.text)


class NotLoggedIn(MailerError):
    """Missing, wrong, expired or mismatched credentials. Its response has a form of its own, as in Rocket.Chat."""

    status = 401
    error_type = "error-not-logged-in"
    text = "You must be logged in to do this."


class TooManyRequests(MailerError):
    """The caller's rate is used up for `retry_after` more seconds. `headers` are those of `X-RateLimit-…`."""

    status = 429
    error_type = "error-too-many-requests"

    def __init__(self, retry_after: int, headers: Mapping[str, str] | None = None) -> None:
        wait = f"You must wait {retry_after} seconds before trying this endpoint again."
        super().__init__(f"Error, too many requests. Please slow down. {wait}", timeToReset=retry_after * 1000)
        self.headers = {"Retry-After": str(retry_after), **(headers or {})}  # type: ignore[misc]


class NotAuthorized(MailerError):
    """The caller lacks a permission."""

    status = 403
    error_type = "error-unauthorized"
    text = "User does not have the permissions required for this action"


class InvalidParams(MailerError):
    """The body is not JSON, or a field is missing, unknown, repeated or of a wrong type; the text names it."""

    error_type = "invalid-params"
    text = "The request is not valid."


class InvalidFromAddress(MailerError):
    """`from` is no valid address, or this caller may not send as it."""

    error_type = "error-invalid-from-address"
    text = "Invalid from address"

    def __init__(self) -> None:
        super().__init__(function="Mailer.sendMail")


class MissingUnsubscribeLink(MailerError):
    """`body` is absent or has no `[unsubscribe]`."""

    error_type = "error-missing-unsubscribe-link"
    text = "You must provide the [unsubscribe] link."

    def __init__(self) -> None:
        super().__init__(function="Mailer.sendMail")


class InvalidQuery(MailerError):
    """`query` is no selector, or uses an operator or a field that is not allowed; the text says which."""

    error_type = "error-invalid-query"
    text = "The query is not valid."


class NotFound(MailerError):
    """What was asked for does not exist, or is not this caller's."""

    status = 404
    error_type = "error-not-found"
    text = "Not found."


class IdempotencyConflict(MailerError):
    """The Idempotency-Key was used with another body."""

    status = 422
    error_type = "error-idempotency-key-reused"
    text = "This Idempotency-Key was used with a different request."


class InvalidState(MailerError):
    """The campaign's state does not allow this, such as resuming one that is not paused."""

    status = 409
    error_type = "error-invalid-state"
    text = "The campaign is in another state."


class InvalidRow(MailerError):
    """A user document cannot be stored. `row` counts from 1; the text names row and field."""

    error_type = "error-invalid-user"

    def __init__(self, row: int, field: str, problem: str) -> None:
        super().__init__(f"row {row}, field {field}: {problem}", row=row, field=field)
        self.problem = problem


class WasErased(MailerError):
    """The user's id, or an address of theirs, is that of somebody who was erased, and who is not brought back."""

    status = 409
    error_type = "error-user-erased"
    text = "This person was erased, and is not brought back: the id or an address is theirs."


class DatabaseUnavailable(MailerError):
    """The database cannot be written now; nothing was accepted."""

    status = 503
    error_type = "error-database-unavailable"
    text = "The database cannot be written at the moment."
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}


class JournalUnavailable(DatabaseUnavailable):
    """The journal cannot be written now, so what was asked for was not done. `place` is its folder, and why."""

    error_type = "error-journal-unavailable"
    text = "The journal (MAILER_JOURNAL_DIR) cannot be written at the moment."

    def __init__(self, place: str = "") -> None:
        super().__init__()
        self.place = place


class QueryTimeout(MailerError):
    """The query took longer than `seconds`, and the database stopped it."""

    status = 503
    error_type = "error-query-timeout"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "30"}

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The query took longer than {seconds:g} s and was stopped. Ask for less: conditions on roles, createdAt "
            "and _id are fast, patterns and arrays are slow. Or try again when the database is less busy."
        )


class TooBusy(MailerError):
    """Half of the process's threads are running queries over the directory already."""

    status = 503
    error_type = "error-too-busy"
    text = "Too many queries are being looked at just now; try again in a few seconds."
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}


class ProviderUnavailable(MailerError):
    """A provider's own service, which has to be asked whether a request is genuine, does not answer."""

    status = 503
    error_type = "error-provider-unavailable"
    text = "What proves this request could not be fetched from the provider."
    headers: ClassVar[dict[str, str]] = {"Retry-After": "30"}


class WorkspaceUnavailable(MailerError):
    """The Rocket.Chat workspace does not answer, or not as Rocket.Chat does; the text says how."""

    status = 503
    error_type = "error-workspace-unavailable"
    text = "The workspace does not answer at the moment."
    headers: ClassVar[dict[str, str]] = {"Retry-After": "30"}


class ConfigError(Exception):
    """A setting cannot be used. The text is one line that names it and, where that is no secret, its value."""
