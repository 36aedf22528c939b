"""Engines decide where and when batches run; `MAILER_ENGINE` selects one.

`base` holds the interface; docs/writing-an-engine.md shows how to add another.
"""

from mailer.engines.base import Engine, EngineParts, Task
from mailer.engines.registry import engine_class, known_engines
from mailer.engines.worker import Worker

__all__ = ["Engine", "EngineParts", "Task", "Worker", "engine_class", "known_engines"]
