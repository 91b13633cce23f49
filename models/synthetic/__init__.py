"""Synthetic faces with exact labels."""
