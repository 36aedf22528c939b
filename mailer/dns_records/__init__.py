"""What a domain's DNS says to those who receive mail from it, judged, and what is missing there."""
