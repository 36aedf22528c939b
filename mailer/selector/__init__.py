"""MongoDB selectors over user documents, as one condition that the database evaluates."""

from mailer.selector.query import fields_of, parse_query
from mailer.selector.sql.sqlite_functions import register
from mailer.selector.sql.statement import compile_selector

__all__ = ["compile_selector", "fields_of", "parse_query", "register"]
