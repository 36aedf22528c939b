"""The last messages of a development or staging service, kept to be looked at."""
