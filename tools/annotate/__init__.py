"""``mien annotate``: a folder of videos to a folder of tables."""
