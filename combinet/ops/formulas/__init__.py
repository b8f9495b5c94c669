"""Formulas of one variable, with their loops and kernels. Imports types, errors and ops."""
