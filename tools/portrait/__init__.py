"""``mien portrait``: a keyframe edited by words and light."""
