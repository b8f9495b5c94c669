"""Layers for sequences.

Imports types, errors, ops, initializers, batches, core, combinators and layers.dense.
"""
