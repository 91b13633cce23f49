"""The camera that a frame's poses hold for."""

from __future__ import annotations

from ..models.errors import InputError
from ..models.face.camera import Camera


class FrameCamera:
    """One camera for pictures of any size: their size may change in mid-stream.

    Attributes:
        newest: of the last picture; None before the first where only a field of view was given.
    """

    def __init__(self, given: Camera | float) -> None:
        """Take a camera, or a field of view across the longer side of a picture, degrees.

        Raises:
            InputError: neither, or an angle that no camera has.
        """
        if isinstance(given, bool) or not isinstance(given, (Camera, float, int)):
            raise InputError(f"camera is {given!r}, expected a Camera or a field of view, degrees")
        if not isinstance(given, Camera):
            Camera.from_fov(640, 480, given)  # refuses what no camera has
        self._given = given
        self.newest = given if isinstance(given, Camera) else None

    def of(self, width: int, height: int) -> Camera:
        """The camera for pictures of this size, px.

        Raises:
            InputError: the camera that was given has pictures of another shape.
        """
        if self.newest is None or (self.newest.width, self.newest.height) != (width, height):
            self.newest = (
                self._given.resized(width, height)
                if isinstance(self._given, Camera)
                else Camera.from_fov(width, height, self._given)
            )
        return self.newest
