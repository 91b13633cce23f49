"""Cameras of the portrait for networks: rays of labels, and labels on orbits.

What a label is, and the world it stands in, says :mod:`..face.eg3d_camera`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float, Float32

from ..errors import InputError
from ..face.eg3d_camera import side_label
from .config import LABEL_SIZE

if TYPE_CHECKING:
    import torch

PIVOT: Final = (0.0, 0.0, 0.2)
"""What EG3D's cameras look at."""
SIDE_SPREAD_RAD: Final = 0.2
"""Most azimuth and height of a side camera (FaceDNeRF)."""
_MOST_HEIGHT_RAD: Final = 1.5


def orbit_label(yaw_rad: float, pitch_rad: float) -> Float32[np.ndarray, " 25"]:
    """A camera on the sphere, its top up, looking at EG3D's pivot.

    Args:
        yaw_rad: azimuth; above 0 the camera stands to the right of who looks at the face.
        pitch_rad: height; above 0 it stands higher.

    Raises:
        InputError: so high or low that up is no direction in the picture.
    """
    if not abs(pitch_rad) <= _MOST_HEIGHT_RAD:
        raise InputError(f"camera height is {pitch_rad:.2f} rad, expected +-{_MOST_HEIGHT_RAD}")
    return side_label(yaw_rad, pitch_rad, PIVOT).astype(np.float32)


def frontal_label() -> Float32[np.ndarray, " 25"]:
    """The camera straight before the face, with which a generator is conditioned."""
    return orbit_label(0.0, 0.0)


def side_labels(
    count: int, rng: np.random.Generator, spread_rad: float = SIDE_SPREAD_RAD
) -> Float32[np.ndarray, "n 25"]:
    """Cameras whose azimuth and height are uniform within the spread of the frontal one."""
    angles = rng.uniform(-spread_rad, spread_rad, (count, 2))
    return np.stack([orbit_label(float(yaw), float(pitch)) for yaw, pitch in angles])


def turntable_labels(
    frames: int, yaw_rad: float = 0.6, pitch_rad: float = 0.15
) -> Float32[np.ndarray, "n 25"]:
    """A closed path around the frontal camera: an ellipse of these half-axes."""
    phases = (np.arange(frames) * (2 * np.pi / frames)).tolist()
    return np.stack([orbit_label(yaw_rad * np.sin(a), pitch_rad * np.cos(a)) for a in phases])


def rays(
    labels: Float[torch.Tensor, "b 25"], size: int
) -> tuple[Float[torch.Tensor, "b r 3"], Float[torch.Tensor, "b r 3"]]:
    """Origins and unit directions of the rays through all pixels' centres, row by row.

    Args:
        labels: cameras.
        size: side of the picture, px.

    Raises:
        InputError: labels of another length.
    """
    import torch

    if labels.shape[-1] != LABEL_SIZE:
        raise InputError(f"camera label of {labels.shape[-1]} numbers, expected {LABEL_SIZE}")
    pose, intrinsics = labels[:, :16].view(-1, 4, 4), labels[:, 16:].view(-1, 3, 3)
    centres = (torch.arange(size, device=labels.device, dtype=labels.dtype) + 0.5) / size
    v, u = torch.meshgrid(centres, centres, indexing="ij")
    u, v = u.reshape(1, -1), v.reshape(1, -1)
    fx, fy = intrinsics[:, 0, 0, None], intrinsics[:, 1, 1, None]
    skew, cx, cy = intrinsics[:, 0, 1, None], intrinsics[:, 0, 2, None], intrinsics[:, 1, 2, None]
    y = (v - cy) / fy
    x = (u - cx - skew * y) / fx
    in_camera = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    directions = torch.nn.functional.normalize(in_camera @ pose[:, :3, :3].transpose(1, 2), dim=-1)
    origins = pose[:, None, :3, 3].expand_as(directions)
    return origins, directions


def axis_share(
    labels: Float[torch.Tensor, "b 25"], directions: Float[torch.Tensor, "b r 3"]
) -> Float[torch.Tensor, "b r"]:
    """Depth along the camera's axis in a unit of distance along the ray."""
    axis = labels[:, :16].view(-1, 4, 4)[:, None, :3, 2]
    return (directions * axis).sum(-1)
