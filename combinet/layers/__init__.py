"""The layers, grouped by purpose. Each package lists its imports in its docstring."""
