"""The `mailer` command."""

from mailer.cli.root import main

__all__ = ["main"]
