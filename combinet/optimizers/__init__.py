"""Updates of stored weights. Imports types, errors, ops, schedules and storage."""
