"""Who must not be written to, over HTTP: unsubscribed users, suppressed addresses, and both in one list."""
