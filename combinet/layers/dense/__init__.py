"""Layers for rows: affine maps, activations and dropout.

Imports types, errors, ops, initializers, core, combinators and layers.norm.
"""
