"""PIFuHD: people and heads in three dimensions from one picture (Saito et al. 2020)."""
