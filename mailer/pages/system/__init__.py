"""The pages of operators: how the service stands, its settings, who has changed what."""
