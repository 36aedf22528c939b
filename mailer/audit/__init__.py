"""Who did what: the person behind a change, and the log of such acts."""
