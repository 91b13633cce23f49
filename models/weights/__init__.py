"""Weights that ship with mien."""
