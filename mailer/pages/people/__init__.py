"""The pages about people: found, shown with all their campaigns, acted upon, exported and erased."""
