"""`mailer users`: the directory, listed, imported from a file, and taken over from a workspace."""
