"""The database, which is both the queue and the record."""
