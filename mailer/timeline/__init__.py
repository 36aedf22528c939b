"""What happened to each campaign and to the service: rows that are only added, without addresses."""
