"""PIFuHD for bodies, preset `surfaces`: trained on bodies that mien made."""
