"""Key frames: how frames are scored, which are chosen, and the folders that hold them."""

from .folder import FolderFacts, Keyframe, KeyframeFolder

__all__ = ["FolderFacts", "Keyframe", "KeyframeFolder"]
