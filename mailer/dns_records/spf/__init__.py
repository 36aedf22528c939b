"""SPF (RFC 7208): a record read, evaluated for an address, and what it costs in lookups."""
