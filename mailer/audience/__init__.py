"""Who would receive a campaign."""
