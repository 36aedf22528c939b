"""The settings by which bounces come in."""
