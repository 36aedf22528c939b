"""A message: compiled once for a campaign, and joined for each recipient."""
