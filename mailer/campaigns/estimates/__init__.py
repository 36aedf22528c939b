"""How long a campaign would take that is accepted now."""
