"""One batch from claim to done."""
