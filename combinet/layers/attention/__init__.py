"""Attention and transformer blocks."""
