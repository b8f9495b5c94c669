"""Tables of vectors and ids."""
