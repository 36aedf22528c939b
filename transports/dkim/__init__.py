"""Signatures by DKIM (RFC 6376) on what another transport carries."""

from transports.dkim.transport import DKIMTransport

__all__ = ["DKIMTransport"]
