"""How a request is read, before a view gets it: its path, its body, its fields."""
