"""What a face is and how it is regressed: morphable model, rendering, synthesis, networks."""
