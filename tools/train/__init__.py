"""``mien train``: every network that mien ships."""
