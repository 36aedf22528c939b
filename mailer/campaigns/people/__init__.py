"""One person over all campaigns: what they got, what keeps mail from them, and how they are erased."""
