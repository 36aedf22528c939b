"""Long work in small steps: each a short transaction, at once or by the service itself."""
