"""The MakeHuman base mesh and targets (CC0) as the source of the face model."""
