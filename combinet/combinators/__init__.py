"""Models made of models. Imports types, errors, ops, batches and core."""
