"""What is probably a mistake in a campaign, told before it goes out."""
