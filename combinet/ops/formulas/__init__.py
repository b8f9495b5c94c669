"""Formulas of one variable, their loops and kernels. Imports errors and types."""
