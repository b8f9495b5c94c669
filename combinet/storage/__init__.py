"""Flat arrays of parameters, and the file format. Knows no Model. Imports types, errors and ops."""
