"""Optimizers: updates of stored weights. Imports ops, schedules and storage."""
