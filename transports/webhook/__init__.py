"""Messages as JSON over HTTP."""

from transports.webhook.transport import WebhookTransport

__all__ = ["WebhookTransport"]
