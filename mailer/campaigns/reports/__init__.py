"""What a campaign said, and what came of it in numbers."""
