"""Model, passes, shapes, allocation, saving.

Imports types, errors, ops, storage, batches and optimizers.
"""
