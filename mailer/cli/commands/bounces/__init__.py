"""`mailer bounces`: what comes back by mail."""
