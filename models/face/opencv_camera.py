"""Camera files of OpenCV's calibration programs and of ROS; imported where one is read."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from jaxtyping import Float64


def numbers_of_calibration(text: str) -> dict[str, Any]:
    """What a calibration says of :class:`~.camera.Camera`'s fields.

    Args:
        text: YAML or XML with a 3x3 ``camera_matrix`` and ``image_width``, ``image_height`` (px),
            under these names or those of OpenCV's interactive calibration.

    Raises:
        ValueError: it is no such file, lacks one of them, or the matrix has skew.
    """
    if not text.lstrip().startswith(("%YAML", "<?xml")):
        text = f"%YAML:1.0\n---\n{text}"  # as ROS writes it
    try:
        storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
    except (cv2.error, SystemError) as error:
        raise ValueError("OpenCV cannot read it") from error
    try:
        return _numbers_of(storage)
    except (cv2.error, OverflowError) as error:
        raise ValueError("OpenCV cannot read it") from error


def _numbers_of(storage: cv2.FileStorage) -> dict[str, Any]:
    matrix = _first(storage, "camera_matrix", "cameraMatrix", "Camera_Matrix")
    numbers = [] if matrix is None or not matrix.isMap() else _numbers(matrix.getNode("data"))
    if len(numbers) != 9:
        raise ValueError("no 3x3 camera_matrix in it")
    K: Float64[np.ndarray, "3 3"] = np.array(numbers).reshape(3, 3)
    if K[0, 1] or K[1, 0] or K[2].tolist() != [0.0, 0.0, 1.0]:
        raise ValueError(f"its camera matrix is not that of a camera without skew: {K.tolist()}")
    size = _first(storage, "cameraResolution", "image_size")
    if size is None:
        names = ("image_width", "image_Width"), ("image_height", "image_Height")
        both = [_first(storage, *of_side) for of_side in names]
        sides = [side.real() for side in both if side is not None]
    else:
        sides = _numbers(size)
    if len(sides) != 2:
        raise ValueError("no image_width and image_height in it")
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    width, height = map(round, sides)
    return {
        **dict(zip(("fx", "fy", "cx", "cy"), map(float, (fx, fy, cx, cy)), strict=True)),
        "width": width,
        "height": height,
    }


def _first(storage: cv2.FileStorage, *names: str) -> cv2.FileNode | None:
    """The first of these nodes that is there."""
    found = (storage.getNode(name) for name in names)
    return next((node for node in found if not node.empty()), None)


def _numbers(node: cv2.FileNode) -> list[float]:
    """The numbers of a list; none where it is not one."""
    if not node.isSeq():
        return []
    elements = [node.at(i) for i in range(node.size())]
    return [one.real() for one in elements if one.isReal() or one.isInt()]
