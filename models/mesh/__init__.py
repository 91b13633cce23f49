"""Triangle meshes: made from grids, measured against each other, drawn, and kept in files."""
