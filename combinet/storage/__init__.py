"""Flat arrays of parameters and the file format; no Model. Imports types, errors and ops."""
