"""Benchmarks. Run them from the root of the repository."""
