"""Who would receive a campaign, and which state keeps a user from it."""
