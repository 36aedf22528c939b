"""One accepted POST from the moment it is committed: planned, controlled, followed, exported, forgotten."""
