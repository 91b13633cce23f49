"""PIFuHD for bodies, small preset: trained on bodies that mien made."""
