"""`mailer serve` and `mailer worker`: the commands that run until they are stopped."""
