"""The morphable face: names, model, geometry, camera, crop, perspective fit, bundle."""
