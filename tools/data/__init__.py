"""The clip of ``mien demo``: a NASA portrait (public domain), moved by ``mien.tools.demo_clip``."""
