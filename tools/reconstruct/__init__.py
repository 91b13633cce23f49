"""``mien reconstruct``: a mesh of a head or a body."""
