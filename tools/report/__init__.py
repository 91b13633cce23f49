"""``mien report``: pages that show how a folder of videos went."""
