"""Flat arrays of parameters and the file format; knows no Model. Imports errors, types, ops."""
