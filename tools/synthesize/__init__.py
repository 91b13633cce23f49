"""``mien synthesize``: people, pictures and shapes to learn from."""
