"""Providers of mail that tell of bounces and complaints by HTTP: how each proves who it is, and what it tells."""
