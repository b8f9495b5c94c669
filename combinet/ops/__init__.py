"""Array operations: `Ops` and its backends. Imports only types and errors."""
