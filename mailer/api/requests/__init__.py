"""A request on its way to a view: its body, its fields, its path."""
