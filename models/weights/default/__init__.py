"""The default bundle."""
