"""Rasteriser and shading on the CPU."""
