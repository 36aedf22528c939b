"""The family that decides where and when batches run."""

from mailer.engines.base import Engine
from mailer.engines.local import LocalEngine

__all__ = ["Engine", "LocalEngine"]
