"""The users of the workspace: their documents, and how they come into the database."""
