"""MongoDB selectors over user documents, as one condition that the database evaluates."""

from mailer.selector.database import database_at
from mailer.selector.query import fields_of, parse_query
from mailer.selector.sql.statement import compile_selector

__all__ = ["compile_selector", "database_at", "fields_of", "parse_query"]
