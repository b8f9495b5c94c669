"""Losses and their gradients. Imports types, errors, ops and batches."""
