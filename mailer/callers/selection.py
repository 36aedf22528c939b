"""Which callers there are, as `MAILER_AUTH` says: those with tokens of our own, or those of a workspace as well."""

from __future__ import annotations

from dataclasses import dataclass

from mailer.callers.services import ServicesFirst, SessionsOfServices
from mailer.callers.sessions import LocalSessions, Sessions
from mailer.callers.tokens import Authenticator, Tokens
from mailer.callers.workspace_callers import WorkspaceCallers
from mailer.callers.workspace_sessions import WorkspaceSessions
from mailer.settings import Settings
from mailer.storage.database import Database


@dataclass(frozen=True, slots=True)
class Callers:
    """Who checks credentials, and who answers for sessions of the API.

    `passwords` takes a user name and a password for credentials, as a workspace does. None: there are no passwords
    here, and an operator makes tokens.
    """

    authenticator: Authenticator
    sessions: Sessions
    passwords: Sessions | None = None


def callers_for(settings: Settings, db: Database, tokens: Tokens) -> Callers:
    """The callers of a service with these settings.

    One value is to be shared by all that ask: what a workspace says of a token is remembered for a minute, and is
    forgotten when the token is logged out.
    """
    own = LocalSessions(db, tokens)
    if settings.auth == "local":
        return Callers(tokens, own)
    callers = WorkspaceCallers(settings.workspace_url, settings.send_roles)
    sessions = SessionsOfServices(own, WorkspaceSessions(settings.workspace_url, callers))
    return Callers(ServicesFirst(tokens, callers), sessions, sessions)
