"""Tables of vectors and ids.

Imports types, errors, ops, initializers, batches, text and core.
"""
