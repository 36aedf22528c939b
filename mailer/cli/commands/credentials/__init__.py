"""`mailer tokens` and `mailer keys`: what callers and links are known by."""
