"""Features of words as hashes. Imports types and errors."""

from combinet.text.hashing import (
    DEFAULT,
    Feature,
    features,
    hash_text,
    lower,
    prefix,
    shape,
    suffix,
)

__all__ = ["DEFAULT", "Feature", "features", "hash_text", "lower", "prefix", "shape", "suffix"]
