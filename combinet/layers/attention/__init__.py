"""Attention and transformer blocks.

Imports types, errors, initializers, batches, core, combinators, layers.norm and layers.dense.
"""
