"""Weights of ``mien avatar``; MODEL_CARD.md says how they were made."""
