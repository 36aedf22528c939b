"""Commands for the day on which a database is lost."""
