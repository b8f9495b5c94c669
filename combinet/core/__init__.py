"""Model, passes, shapes, allocation, saving. Imports the rooms below it in docs/design.md."""
