"""What came of a campaign by domain and by answer, counted as it is recorded, so that nobody has to count a million."""
