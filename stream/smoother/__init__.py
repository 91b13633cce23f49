"""Kalman filters for pose, identity, expression."""
