"""Messages as files in a folder."""

from transports.file.transport import FileTransport

__all__ = ["FileTransport"]
