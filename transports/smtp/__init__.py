"""Messages over SMTP."""

from transports.smtp.transport import SMTPTransport

__all__ = ["SMTPTransport"]
