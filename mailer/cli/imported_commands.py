"""Commands that are imported when they are asked for, so that none waits for what only others need."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class ImportedCommands(UserDict[str, click.Command]):
    """Commands by name. `places` says where each is, as `module:attribute`; looking one up imports it."""

    def __init__(self, places: Mapping[str, str]) -> None:
        super().__init__()
        self.data: dict[str, Any] = dict(places)

    def __getitem__(self, name: str) -> click.Command:
        """Import the command. Raises `KeyError` where there is none of this name."""
        module, _, attribute = self.data[name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command
