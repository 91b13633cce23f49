"""The parts' poses from a picture: key points, and perspective-n-point on them.

Each part owns learned 3D points in canonical space. A 2D U-Net draws a heat map for each of them;
its mean is where the point is seen; from both, a differentiable PnP has the pose of every part
(Ntavelis et al. 2023, 3.1: ten parts of 125 points, pictures of 64 x 64 px). Nobody says where a
point is: what the posed grid looks like is the only teacher, beside the demand that the points, at
the poses found, fall on their places.

Two things are added, since here the camera of every picture is known. A heat map is multiplied by
a wide normal distribution around where its point is at rest, so that a network that knows nothing
yet finds faces at rest, not collapsed to a dot; and the PnP has a prior (:mod:`.pnp`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from ..errors import InputError
from ..learning.sizes import check_kinds
from ..scans.box import HIGH_MM, LOW_MM, FaceBox
from .autodecoder import Volume
from .config import Preset
from .pnp import PosePrior, Poses, project, solve_poses
from .skinning import posed_volume

_UNIT_MM: Final = 20.0
"""Of the learned coordinates: as far as a part's points lie from its middle."""
_EDGE: Final = 0.2
"""Share of the box that parts' first middles keep from its sides."""
_GROUPS: Final = 8


@dataclass(frozen=True)
class KeypointConfig:
    """Sizes of the key points and their network.

    Attributes:
        parts: rigid parts.
        points: key points of a part; 4 or more.
        channels: of the U-Net, from the picture's resolution downwards, each level half as wide; a
            multiple of 8.
        coarse: levels by which the heat maps are coarser than the picture.
        reach_px: deviation of a point's place about where it is at rest, in pixels of 64 across.
        near_mm: deviation of a part's cells about the middle of its points: how weights begin.
        steps: of the PnP.
        prior: of the poses.
    """

    parts: int = 10
    points: int = 125
    channels: tuple[int, ...] = (32, 64, 128, 256)
    coarse: int = 0
    reach_px: float = 4.0
    near_mm: float = 25.0
    steps: int = 5
    prior: PosePrior = field(default_factory=PosePrior)

    def __post_init__(self) -> None:
        if self.parts < 1 or self.points < 4:
            raise InputError("avatar: a pose needs a part or more, of four points or more")
        odd = [width for width in self.channels if width % _GROUPS or width < 1]
        if odd or not 0 <= self.coarse < len(self.channels):
            raise InputError("avatar: the U-Net needs channels in eights, and levels to be coarse")

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> KeypointConfig:
        """What :meth:`as_dict` gave, or JSON of it.

        Raises:
            InputError: entries are impossible.
            TypeError: entries are unknown, or no table or list where one is wanted.
            KeyError: there is no prior, or are no channels.
        """
        check_kinds(PosePrior, table["prior"], "avatar")
        values = {
            **table, "channels": tuple(table["channels"]), "prior": PosePrior(**table["prior"])
        }  # fmt: skip
        check_kinds(cls, values, "avatar", zero=("coarse",))
        return cls(**values)


def keypoint_preset(name: Preset) -> KeypointConfig:
    """``paper``: 125 points of each of ten parts, heat maps of 64 x 64. ``small``: 16, 32 x 32."""
    if name == "paper":
        return KeypointConfig()
    return KeypointConfig(points=16, channels=(16, 32, 48, 64), coarse=1, steps=3)


class Motion(NamedTuple):
    """What pictures say of the parts.

    Attributes:
        poses: canonical to head frame.
        seen: (b, P, K, 2) where the network sees the points, in pixels of the picture.
        projected: (b, P, K, 2) where they are at the poses found, likewise.
    """

    poses: Poses
    seen: Float[torch.Tensor, "b p k 2"]
    projected: Float[torch.Tensor, "b p k 2"]

    @property
    def miss_px(self) -> Float[torch.Tensor, ""]:
        """Mean distance of the two: how far the points are from moving rigidly."""
        square = (self.seen - self.projected).square().sum(-1)
        return (square + 1e-6).sqrt().mean()  # with a gradient where both agree


class HeatMaps(nn.Module):
    """A U-Net from pictures to logits of heat maps.

    Args:
        config: sizes.
    """

    def __init__(self, config: KeypointConfig) -> None:
        super().__init__()
        widths, last = config.channels, config.coarse
        inputs = (3, *widths[:-1])
        self.down = nn.ModuleList([_Layers(a, b) for a, b in zip(inputs, widths, strict=True)])
        levels = range(len(widths) - 2, last - 1, -1)
        self.up = nn.ModuleList([_Layers(widths[i + 1] + widths[i], widths[i]) for i in levels])
        # Where nothing is learned yet maps are even, and the rest position decides. What is the
        # same everywhere in a map changes nothing: no bias.
        self.head = nn.Conv2d(widths[last], config.parts * config.points, 1, bias=False)
        nn.init.zeros_(self.head.weight)

    @property
    def multiple(self) -> int:
        """Sides of pictures are multiples of this, px."""
        return 2 ** (len(self.down) - 1)

    def forward(self, pictures: Float[torch.Tensor, "b 3 h w"]) -> Float[torch.Tensor, "b n y x"]:
        """Pictures of values about -1 to 1 to logits, one map a point."""
        found, x = [], pictures
        for level, layer in enumerate(self.down):
            x = layer(functional.avg_pool2d(x, 2) if level else x)
            found.append(x)
        for layer, beside in zip(self.up, reversed(found[:-1]), strict=False):
            wide = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = layer(torch.cat([wide, beside], 1))
        return self.head(x)


class _Layers(nn.Sequential):
    """Twice convolution, normalisation, activation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.GroupNorm(_GROUPS, outputs),
            nn.SiLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.GroupNorm(_GROUPS, outputs),
            nn.SiLU(),
        )


class Keypoints(nn.Module):
    """Pictures of a face to the poses of its parts, and to its grids in these poses.

    Args:
        config: sizes.
    """

    def __init__(self, config: KeypointConfig) -> None:
        super().__init__()
        self.config = config
        self.maps = HeatMaps(config)
        low, high = torch.tensor(LOW_MM), torch.tensor(HIGH_MM)
        spread = (high - low) * (1 - 2 * _EDGE)
        middles = low + _EDGE * (high - low) + spread * _even_places(config.parts)
        arms = _UNIT_MM * torch.randn(config.parts, config.points, 3)
        self.points = nn.Parameter((middles[:, None] + arms) / _UNIT_MM)

    @property
    def canonical(self) -> Float[torch.Tensor, "p k 3"]:
        """The key points of the parts in canonical space, mm."""
        return _UNIT_MM * self.points

    def part_logits(self, cells: int) -> Float[torch.Tensor, "p n n n"]:
        """What weights of the parts begin with over the box: each part near its points.

        Args:
            cells: along a side.
        """
        centres = torch.from_numpy(FaceBox(cells).centres()).to(self.points)
        middle = self.canonical.mean(1)
        away = centres - middle[:, None, None, None]
        return -away.square().sum(-1) / (2 * self.config.near_mm**2)

    def forward(
        self, pictures: Float[torch.Tensor, "b 3 h w"], camera: Float[torch.Tensor, "b 3 4"]
    ) -> Motion:
        """Find the parts in pictures.

        Args:
            pictures: sRGB, 0 to 1; sides are multiples of :attr:`HeatMaps.multiple`.
            camera: pixels times depth from mm of the head frame at rest.

        Raises:
            InputError: pictures of other sides.
        """
        height, width = pictures.shape[-2:]
        if height % self.maps.multiple or width % self.maps.multiple:
            raise InputError(
                f"avatar: pictures of {width} x {height} px for key points, expected multiples of "
                f"{self.maps.multiple}"
            )
        logits = self.maps(2 * pictures - 1)
        with torch.autocast(pictures.device.type, enabled=False):
            points = self.canonical.expand(len(pictures), -1, -1, -1)
            rest = project(points, camera)
            seen = self._places(logits.float(), rest, height, width)
            config = self.config
            start = Poses.rest(len(pictures), config.parts, points)
            poses = solve_poses(points, seen, camera, start, steps=config.steps, prior=config.prior)
            moved = torch.einsum("bpij,bpkj->bpki", poses.rotation, points)
            return Motion(poses, seen, project(moved + poses.translation[:, :, None], camera))

    def posed(
        self,
        volume: Volume,
        pictures: Float[torch.Tensor, "b 3 h w"],
        camera: Float[torch.Tensor, "b 3 4"],
    ) -> tuple[Volume, Motion]:
        """Canonical grids as pictures show them, and the motion found.

        Args:
            volume: canonical grids of the persons in the pictures, with logits of their parts'
                weights; those of :meth:`part_logits` are added.
            pictures: see :meth:`forward`.
            camera: likewise.

        Raises:
            InputError: the grids have no weights of parts, or pictures are of other sides.
        """
        if volume.parts is None:
            raise InputError("avatar: grids without weights of parts cannot be posed")
        motion = self(pictures, camera)
        with torch.autocast(pictures.device.type, enabled=False):
            logits = volume.parts.float() + self.part_logits(volume.parts.shape[-1])
            return posed_volume(volume, logits, motion.poses), motion

    def _places(
        self,
        logits: Float[torch.Tensor, "b n y x"],
        rest: Float[torch.Tensor, "b p k 2"],
        height: int,
        width: int,
    ) -> Float[torch.Tensor, "b p k 2"]:
        """Means of heat maps, px of the picture."""
        cell = 2**self.config.coarse
        reach = self.config.reach_px * width / 64
        flat = rest.flatten(1, 2)
        # (0, 0) is the centre of the top-left pixel; a coarse cell's centre is that of its pixels.
        x = torch.arange(width // cell, device=rest.device) * cell + (cell - 1) / 2
        y = torch.arange(height // cell, device=rest.device) * cell + (cell - 1) / 2
        across = (x - flat[..., :1]) / reach
        down = (y - flat[..., 1:]) / reach
        near = -(across.square()[..., None, :] + down.square()[..., :, None]) / 2
        heat = torch.softmax((logits + near).flatten(2), -1).unflatten(-1, near.shape[-2:])
        place = torch.stack([(heat.sum(2) * x).sum(-1), (heat.sum(3) * y).sum(-1)], -1)
        return place.view(rest.shape)


def _even_places(count: int) -> Float[torch.Tensor, "n 3"]:
    """Places in a unit cube that keep apart: the additive recurrence of the plastic ratio's kin."""
    step = torch.tensor([0.8191725, 0.6710436, 0.5497005])
    return (0.5 + step * torch.arange(count)[:, None]) % 1.0
