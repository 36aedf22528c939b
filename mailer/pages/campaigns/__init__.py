"""Campaigns for people: the list, one of them while it is sent, what it said, its outcomes, and what can be done."""
