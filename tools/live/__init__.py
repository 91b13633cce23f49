"""``mien track`` and what belongs to it: ``listen``, ``center``, ``keys``."""
