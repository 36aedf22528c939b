"""MongoDB selectors over user documents, as one condition that the database evaluates."""

from mailer.selector.mentioned import fields_of
from mailer.selector.sql.sqlite_functions import register
from mailer.selector.sql.statement import compile_selector
from mailer.selector.text import parse_query

__all__ = ["compile_selector", "fields_of", "parse_query", "register"]
