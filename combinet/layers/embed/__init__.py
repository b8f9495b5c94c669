"""Layers with tables of vectors, and layers that compute ids.

Imports types, errors, ops, initializers, batches, text and core.
"""
