"""Optimizers, which update stored weights. Imports types, errors, ops, schedules and storage."""
