"""The service's settings: read once, checked, and the only place that reads the environment."""

from mailer.settings.settings import (
    ENV_FILE,
    Settings,
    environment,
    metrics_folder,
    share_metrics,
    unknown_settings,
)

__all__ = ["ENV_FILE", "Settings", "environment", "metrics_folder", "share_metrics", "unknown_settings"]
