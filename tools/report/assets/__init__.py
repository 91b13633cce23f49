"""What the pages of ``mien report`` are made of: style and script."""
