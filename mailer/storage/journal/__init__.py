"""A journal beside the database, for a restored backup to learn who was sent to since, and what people wished."""
