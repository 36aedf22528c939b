"""Regular expressions in a selector: read, priced, and spelled out for RE2 and PostgreSQL."""
