"""What a checkpoint asks and what it writes: a short way for the usual case, beside a careful one for all others."""
