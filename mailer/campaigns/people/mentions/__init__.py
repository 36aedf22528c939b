"""What is said of somebody who is erased in what is not theirs: campaigns, drafts, notes, other people's outcomes."""
