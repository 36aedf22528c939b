"""A move from one database to another: everything with its history, while no process of the service runs."""
