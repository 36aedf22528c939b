"""Answers of mail servers: what a reply is made of, what it says, and whom it is about."""
