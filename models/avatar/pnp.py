"""One pose for each part from where its points are seen: perspective-n-point that passes gradients.

Damped Gauss-Newton steps on the points' distances in the picture, all parts of all pictures at
once. Each step is differentiable, so gradients reach the points and the places alike (Ntavelis et
al. 2023, 3.1, want a differentiable PnP and do not say which). A part of a face is small before a
camera: its distance and its turns out of the picture's plane are hardly seen. An optional prior
around the starting pose then decides, and makes of the pose the most probable one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from jaxtyping import Float

from ..errors import InputError

_DAMPING: Final = 1e-4
"""Share of its own diagonal that is added to the normal matrix."""
_FLOOR: Final = 1e-6
"""Added to the diagonal: points that all coincide say nothing of a rotation."""
_NEAREST_MM: Final = 1.0


class Poses(NamedTuple):
    """Rigid motions of all parts: canonical to posed, ``x -> R x + t``.

    Attributes:
        rotation: (b, P, 3, 3).
        translation: (b, P, 3) mm.
    """

    rotation: Float[torch.Tensor, "b p 3 3"]
    translation: Float[torch.Tensor, "b p 3"]

    @classmethod
    def rest(cls, batch: int, parts: int, like: torch.Tensor) -> Poses:
        """No motion; of the type, and on the device, of ``like``."""
        turn = torch.eye(3, dtype=like.dtype, device=like.device)
        return cls(turn.expand(batch, parts, 3, 3), like.new_zeros(batch, parts, 3))


@dataclass(frozen=True)
class PosePrior:
    """How parts move about their starting pose, as deviations.

    Attributes:
        rotation_rad: about each axis; turns of the starting pose well under a right angle.
        shift_mm: of the middle of a part's points, along each axis.
        seen_px: of the places in the picture.
    """

    rotation_rad: float = 0.25
    shift_mm: float = 12.0
    seen_px: float = 1.0

    def __post_init__(self) -> None:
        if min(self.rotation_rad, self.shift_mm, self.seen_px) <= 0:
            raise InputError("avatar: a prior of poses needs deviations above 0")


def solve_poses(
    points: Float[torch.Tensor, "b p k 3"],
    seen: Float[torch.Tensor, "b p k 2"],
    camera: Float[torch.Tensor, "b 3 4"],
    start: Poses,
    *,
    steps: int = 10,
    prior: PosePrior | None = None,
) -> Poses:
    """The pose of every part.

    Args:
        points: k of each part in canonical space, mm.
        seen: where they are in the picture, px.
        camera: pixels times depth from mm of posed space; ``K [I | 0]`` where that is the camera's
            frame.
        start: the poses to begin with; with a prior, those it is about.
        steps: of Gauss and Newton, damped a little.
        prior: of the poses; None: the points alone decide.
    """
    # About the middle of its points a part's rotation and shift are hardly coupled.
    middle = points.mean(2)
    arms = points - middle[:, :, None]
    first = torch.einsum("bpij,bpj->bpi", start.rotation, middle) + start.translation
    rotation, place = start.rotation, first
    for _ in range(steps):
        turned = torch.einsum("bpij,bpkj->bpki", rotation, arms)
        found, slope = _projected(turned + place[:, :, None], camera)
        jacobian = torch.cat([slope @ -_skew(turned), slope], -1).flatten(2, 3)
        normal = jacobian.transpose(-1, -2) @ jacobian
        right = (jacobian.transpose(-1, -2) @ (seen - found).flatten(2)[..., None]).squeeze(-1)
        if prior is not None:
            away = torch.cat([_turn_from(start.rotation, rotation), place - first], -1)
            size = [prior.rotation_rad] * 3 + [prior.shift_mm] * 3
            stiff = (prior.seen_px / points.new_tensor(size)).square()
            normal = normal + torch.diag_embed(stiff.expand_as(away))
            right = right - stiff * away
        lift = _DAMPING * normal.diagonal(dim1=-2, dim2=-1) + _FLOOR
        step = torch.linalg.solve(normal + torch.diag_embed(lift), right)
        rotation = _turned_by(step[..., :3]) @ rotation
        place = place + step[..., 3:]
    return Poses(rotation, place - torch.einsum("bpij,bpj->bpi", rotation, middle))


def project(
    points: Float[torch.Tensor, "b p k 3"], camera: Float[torch.Tensor, "b 3 4"]
) -> Float[torch.Tensor, "b p k 2"]:
    """Where points of posed space (mm) are in a picture, px."""
    return _projected(points, camera)[0]


def _projected(
    points: Float[torch.Tensor, "b p k 3"], camera: Float[torch.Tensor, "b 3 4"]
) -> tuple[Float[torch.Tensor, "b p k 2"], Float[torch.Tensor, "b p k 2 3"]]:
    """Places in the picture, px, and how they follow the points, px per mm."""
    matrix = camera[:, None, None, :, :3]
    ray = (matrix @ points[..., None]).squeeze(-1) + camera[:, None, None, :, 3]
    depth = ray[..., 2:].clamp(min=_NEAREST_MM)
    place = ray[..., :2] / depth
    slope = (matrix[..., :2, :] - place[..., None] * matrix[..., 2:, :]) / depth[..., None]
    return place, slope


def rotation_from_vector(vector: Float[torch.Tensor, "*b 3"]) -> Float[torch.Tensor, "*b 3 3"]:
    """The rotation about a vector by its length, radians."""
    return torch.matrix_exp(_skew(vector))


def _turned_by(vector: Float[torch.Tensor, "*b 3"]) -> Float[torch.Tensor, "*b 3 3"]:
    """A rotation that for small vectors is that of :func:`rotation_from_vector` (Cayley 1846).

    A step may be any rotation near that; this one costs a few products, with its gradient too.
    """
    skew = _skew(vector)
    scale = 4 / (4 + vector.square().sum(-1)[..., None, None])
    return torch.eye(3).to(vector) + scale * (skew + skew @ skew / 2)


def _turn_from(
    before: Float[torch.Tensor, "b p 3 3"], after: Float[torch.Tensor, "b p 3 3"]
) -> Float[torch.Tensor, "b p 3"]:
    """About the rotation vector from one to the other: its axis times the sine of its angle.

    Unlike the logarithm it has a gradient where there is no turn.
    """
    turn = after @ before.transpose(-1, -2)
    odd = (turn - turn.transpose(-1, -2)) / 2
    return torch.stack([odd[..., 2, 1], odd[..., 0, 2], odd[..., 1, 0]], -1)


def _skew(vector: Float[torch.Tensor, "*b 3"]) -> Float[torch.Tensor, "*b 3 3"]:
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
