"""After a restored backup: nothing of before goes out until a person decides, and what a relay proves is on record."""
