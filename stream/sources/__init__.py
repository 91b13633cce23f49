"""Readers of video: files, images, cameras, network streams."""
