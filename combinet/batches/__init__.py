"""Batches of sequences: Ragged, Padded, conversions, gradients. Imports types, errors and ops."""
