"""Layers, in rooms by what they do. Imports everything but interop."""
