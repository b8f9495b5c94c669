"""Losses: the gradient and the value for an output and its labels. Imports ops and batches."""
