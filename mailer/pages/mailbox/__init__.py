"""The mailbox for people: what was sent in development and staging."""
