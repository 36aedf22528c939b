"""The plain text part: what a reader of the HTML sees, as text."""
