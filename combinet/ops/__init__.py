"""Array operations: `Ops` and its backends. Imports errors and types."""
