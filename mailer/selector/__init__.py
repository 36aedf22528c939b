"""MongoDB selectors over user documents, as one condition that the database evaluates."""

from mailer.selector.database import database_at
from mailer.selector.mentioned import fields_of
from mailer.selector.sql.statement import compile_selector
from mailer.selector.text import parse_query

__all__ = ["compile_selector", "database_at", "fields_of", "parse_query"]
