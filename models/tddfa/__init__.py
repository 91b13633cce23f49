"""Bundles made of a user's own 3DDFA_V2 files: a network, a Basel face model, statistics."""
