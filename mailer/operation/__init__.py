"""How the service stands, for whoever keeps it running: its health, its processes and queue, its settings."""
