"""Sentences that come from below the pages, in the reader's language.

The rooms below speak English to programs, logs and terminals, and what they said stands in the database. Here each of
their sentences is a template of the catalogue; a page finds the one that a sentence was made from, and fills it in
the reader's language.
"""
