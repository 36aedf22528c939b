"""What becomes of campaigns and credentials when who owns them leaves, or hands them over."""
