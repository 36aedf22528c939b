"""Benchmarks beside peers and the limit: `python -m bench`, described in docs/performance.md."""
