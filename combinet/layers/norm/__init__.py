"""Normalization layers. Imports types, errors, initializers and core."""
