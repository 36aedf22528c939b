"""What is done for SQLite alone: writing in turn, the log on the disk, and transactions that cost little."""
