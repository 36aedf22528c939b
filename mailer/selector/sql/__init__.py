"""A selector as one SQL condition, for SQLite and for PostgreSQL."""
