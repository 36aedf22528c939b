"""A Rocket.Chat workspace, and the directory kept in step with it."""
