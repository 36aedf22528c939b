"""Mail that does not go to its recipients, for staging over a real mail server."""
