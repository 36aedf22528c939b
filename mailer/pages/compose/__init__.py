"""Write a campaign, look at it from all sides, and send it."""
