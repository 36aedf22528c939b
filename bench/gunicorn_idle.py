"""The checked-in server settings without the hooks: for endpoints alone, no engine is started."""

import runpy
from pathlib import Path

globals().update(runpy.run_path(str(Path(__file__).resolve().parent.parent / "gunicorn.conf.py")))


def post_worker_init(_worker: object) -> None:
    """Start nothing."""


def worker_exit(_server: object, _worker: object) -> None:
    """Nothing was started."""
