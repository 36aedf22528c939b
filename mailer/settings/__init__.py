"""The service's settings: read once, checked, and the only place that reads the environment."""

from mailer.settings.settings import (
    AUTH_TOKEN,
    ENV_FILE,
    Settings,
    client_variables,
    environment,
    log_settings,
    metrics_folder,
    secret_file_warnings,
    setting_origins,
    share_metrics,
    unknown_settings,
)
from mailer.settings.table import SECRET_VARIABLES

__all__ = [
    "AUTH_TOKEN",
    "ENV_FILE",
    "SECRET_VARIABLES",
    "Settings",
    "client_variables",
    "environment",
    "log_settings",
    "metrics_folder",
    "secret_file_warnings",
    "setting_origins",
    "share_metrics",
    "unknown_settings",
]
