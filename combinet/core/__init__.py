"""Models: passes, shape inference, allocation, saving.

Imports types, errors, ops, storage, batches and optimizers.
"""
