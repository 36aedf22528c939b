"""A campaign's text replaced while it is paused, for whoever is not served yet."""
