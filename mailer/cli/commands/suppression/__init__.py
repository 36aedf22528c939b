"""Who must not be written to: `mailer unsubscribes`, `mailer suppressed`, and `mailer not-written-to` for both."""
