"""mien's own face detector: network, training on composed scenes, export."""
