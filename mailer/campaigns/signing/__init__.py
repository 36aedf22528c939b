"""The keys that sign unsubscribe links: what is written down of them, and which are not needed any more."""
