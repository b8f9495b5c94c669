"""Batches of sequences: Ragged, Padded, conversions, gradients. Imports errors, types and ops."""
