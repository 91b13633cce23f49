"""Weights of ``mien portrait``; MODEL_CARD.md says how they were made."""
