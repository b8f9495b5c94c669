"""Layers, in rooms by what they do. Each room says what it imports."""
