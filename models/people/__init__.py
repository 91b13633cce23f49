"""Synthetic heads and bodies with their true solid shape, for learning reconstruction."""
