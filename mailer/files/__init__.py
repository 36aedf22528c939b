"""Files as people have them: encodings, tables, JSON, and cells that are safe to open."""
