"""``mien avatar``: a person's face with any expression."""
