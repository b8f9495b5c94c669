"""Values and gradients of outputs and labels. Imports types, errors, ops and batches."""
