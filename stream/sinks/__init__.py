"""What receives the observations: files, overlay, sockets."""
