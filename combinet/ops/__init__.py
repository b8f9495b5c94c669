"""Array operations: `Ops` and its backends. Imports types and errors."""
