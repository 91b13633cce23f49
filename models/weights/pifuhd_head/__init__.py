"""PIFuHD for heads, small preset: trained on heads that mien made."""
