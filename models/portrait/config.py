"""Sizes of the tri-plane generator: a small one that a processor trains, and EG3D's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from ..errors import InputError
from ..learning.sizes import of_table

PlaneAxes = Literal["xy_xz_yz", "xy_xz_zx"]
"""Which coordinates the three planes take as (column, row)."""
MappingKind = Literal["gaussian", "network"]

LABEL_SIZE: Final = 25
"""Of a camera label: 16 of camera-to-world, 9 of the intrinsics."""
LIGHT_SIZE: Final = 9
"""Spherical-harmonic coefficients of a light."""


@dataclass(frozen=True)
class PortraitConfig:
    """Architecture of :class:`.generator.Generator`.

    Attributes:
        name: of the preset it came from.
        z_dim: length of z.
        w_dim: length of a code w.
        mapping: ``network`` maps z and the camera label by fully connected layers (EG3D);
            ``gaussian`` draws codes from the Gaussian of an auto-decoder's codes, and adds what a
            known light does.
        mapping_layers: of the network.
        label_scale: what the network's camera label is multiplied by; 0 for no pose conditioning.
        plane_size: side of the planes in cells, a power of two.
        plane_channels: of one plane.
        plane_axes: ``xy_xz_yz``, or what EG3D's released code does, ``xy_xz_zx``.
        channel_base: a level of side r has ``channel_base / r`` channels at most.
        channel_max: most channels of a level.
        decoder_hidden: width of the decoder's hidden layer.
        feature_channels: what a ray carries; the first three are its colour.
        render_size: side of the volume rendering, px.
        super_channels: channels of the super-resolution's blocks; each doubles the side.
        near: where rays begin, world units from the camera.
        far: where they end.
        box: side of the cube around the origin that the planes cover, world units.
        coarse: samples of the first pass.
        fine: samples of the second pass.
        clamp: bound of the super-resolution's activations; None for none.
        backbone_clamp: likewise of the backbone's.
    """

    name: str = "small"
    z_dim: int = 128
    w_dim: int = 128
    mapping: MappingKind = "gaussian"
    mapping_layers: int = 2
    label_scale: float = 1.0
    plane_size: int = 64
    plane_channels: int = 16
    plane_axes: PlaneAxes = "xy_xz_yz"
    channel_base: int = 2048
    channel_max: int = 96
    decoder_hidden: int = 32
    feature_channels: int = 16
    render_size: int = 32
    super_channels: tuple[int, ...] = (32,)
    near: float = 2.3
    far: float = 3.15
    box: float = 1.0
    coarse: int = 12
    fine: int = 12
    clamp: float | None = None
    backbone_clamp: float | None = None

    def __post_init__(self) -> None:
        for name in ("plane_size", "render_size"):
            value = getattr(self, name)
            if value < 4 or value & (value - 1):
                raise InputError(f"{name} is {value}, expected a power of two from 4")
        if self.feature_channels < 3:
            raise InputError(
                f"feature_channels is {self.feature_channels}, expected 3 or more (colour first)"
            )
        if not 0 < self.near < self.far:
            raise InputError(f"near {self.near} and far {self.far}: expected 0 < near < far")
        if min(self.coarse, self.fine) < 3:
            raise InputError(f"{self.coarse} + {self.fine} samples a ray, expected 3 or more each")
        if self.mapping == "gaussian" and self.z_dim != self.w_dim:
            raise InputError("a gaussian mapping needs z_dim equal to w_dim")

    @property
    def image_size(self) -> int:
        """Side of the finished picture, px."""
        return self.render_size * 2 ** len(self.super_channels)

    @property
    def levels(self) -> tuple[int, ...]:
        """Sides of the backbone's levels, cells: 4, 8, ... plane_size."""
        return tuple(2**k for k in range(2, self.plane_size.bit_length()))

    @property
    def n_ws(self) -> int:
        """Codes that the backbone takes: one a convolution, and one for the last planes."""
        return 2 * len(self.levels)

    def channels(self, level: int) -> int:
        """Channels of the level of that side."""
        return min(self.channel_base // level, self.channel_max)

    @classmethod
    def of_table(cls, table: dict[str, Any]) -> PortraitConfig:
        """From the table of a file.

        Raises:
            InputError: a name is unknown, or a value is impossible.
        """
        return of_table(cls, table, "generator")


SMALL: Final = PortraitConfig()
EG3D: Final = PortraitConfig(
    name="eg3d",
    z_dim=512,
    w_dim=512,
    mapping="network",
    plane_size=256,
    plane_channels=32,
    plane_axes="xy_xz_zx",
    channel_base=32768,
    channel_max=512,
    decoder_hidden=64,
    feature_channels=32,
    render_size=128,
    super_channels=(256, 128),
    near=2.25,
    far=3.3,
    coarse=48,
    fine=48,
    clamp=256.0,
)
PRESETS: Final = {"small": SMALL, "eg3d": EG3D}


def preset(name: str) -> PortraitConfig:
    """The sizes of that name.

    Raises:
        InputError: there is none.
    """
    if name not in PRESETS:
        raise InputError(f"no preset {name!r} of the portrait's generator; there are "
                         f"{', '.join(PRESETS)}")  # fmt: skip
    return PRESETS[name]
