"""Flat arrays of parameters, and the file format, without Model. Imports types, errors and ops."""
