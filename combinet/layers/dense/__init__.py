"""Layers on rows.

Imports types, errors, ops, initializers, core, combinators and layers.norm.
"""
