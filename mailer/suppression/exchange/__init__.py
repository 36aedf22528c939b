"""Lists of everybody who must not be written to, with the reasons: our own, and those of services for mail."""
