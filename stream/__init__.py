"""What happens to a frame: sources, detector, regression, tracks, smoothing, sinks."""
