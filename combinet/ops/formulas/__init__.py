"""Formulas of one variable, their loops and kernels. Imports types, errors and ops."""
