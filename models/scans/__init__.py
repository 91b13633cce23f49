"""Scans of faces: the grid they are fused into, the sensor that makes them, and the true faces."""
