"""Regular expressions in a selector: read, their cost estimated, and written anew for RE2 and PostgreSQL."""
