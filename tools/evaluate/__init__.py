"""``mien evaluate`` and ``mien evaluate-models``: how good it is; and the model card's figures."""
