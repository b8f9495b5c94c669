"""Layers on rows."""
