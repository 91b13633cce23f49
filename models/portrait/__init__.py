"""Portraits in 3D from a picture and words: a tri-plane generator, its losses and its data."""
