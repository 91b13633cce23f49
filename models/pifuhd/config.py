"""Sizes of PIFuHD: the paper's own, and a small one that trains on a processor in hours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, TypeVar

from ..documents import one_line
from ..errors import InputError
from ..learning.sizes import check_kinds
from .surface_sizes import CHANNELS, RAY_CHANNELS

Upsampling = Literal["bicubic", "bilinear", "nearest"]
Preset = Literal["small", "surfaces", "paper"]
_Config = TypeVar("_Config")
_ZERO: Final = ("skips", "embedding", "depth_waves", "pose_waves", "bins")
"""Numbers of layers counted from 0, and what may be left away."""
PRESETS: Final[tuple[Preset, ...]] = ("small", "surfaces", "paper")


@dataclass(frozen=True)
class EncoderConfig:
    """A stacked hourglass (Newell et al. 2016) with group normalisation.

    Attributes:
        size: pixels across the picture that it reads.
        stem: channels of its first, strided convolution.
        middle: channels of its next two blocks.
        channels: channels of the hourglasses.
        outputs: channels of the features.
        stacks: hourglasses, one behind the other.
        depth: times that each halves its map.
        pooled: whether the map is halved a second time before the hourglasses.
        groups: of the normalisation.
        upsampling: of the way back up.
        bins: layers of depth of the volume of logits that is drawn beside the features (the paper
            has none). A point reads its own, and the implicit network only adds to it: where a
            surface lies is learnt faster by a map a depth than by a function of depth.
        surfaces: draw where the first and the last surface lie along each pixel's ray, and whether
            there is any (:mod:`.surfaces`), instead of a volume (the paper has none). A person of
            unknown depth is then drawn somewhere, in one piece, not everywhere a little.
    """

    size: int
    stem: int
    middle: int
    channels: int
    outputs: int
    stacks: int
    depth: int
    pooled: bool
    groups: int
    upsampling: Upsampling
    bins: int = 0
    surfaces: bool = False

    def __post_init__(self) -> None:
        if self.surfaces and self.bins:
            raise InputError("PIFuHD: an encoder draws a volume or surfaces, expected not both")

    @property
    def drawn(self) -> int:
        """Channels drawn beside the features."""
        return CHANNELS if self.surfaces else self.bins

    @property
    def told(self) -> int:
        """Values that a point reads off what is drawn, beside the features."""
        return CHANNELS if self.surfaces else int(self.bins > 0)

    @property
    def map_size(self) -> int:
        """Pixels across the feature map of a whole picture."""
        return self.size // self.stride

    @property
    def stride(self) -> int:
        """Picture pixels a pixel of the feature map."""
        return 4 if self.pooled else 2


@dataclass(frozen=True)
class ImplicitConfig:
    """The fully connected network from a point's features to its occupancy.

    Attributes:
        hidden: widths of the hidden layers.
        skips: layers, counted from 0, that get the input once more.
        embedding: hidden layer, counted from 0, whose activation is Omega.
        most_added: most that it adds to logits that it is given (of what is drawn, of the level
            before), either way; 0 for anything. Asked whether points are inside, it would else
            blur surfaces that are not sure.
    """

    hidden: tuple[int, ...]
    skips: tuple[int, ...]
    embedding: int
    most_added: float = 0.0

    def __post_init__(self) -> None:
        if self.embedding >= len(self.hidden):
            raise InputError(
                f"PIFuHD: embedding is {self.embedding}, expected one of {len(self.hidden)} layers"
            )


@dataclass(frozen=True)
class NormalConfig:
    """A normal network: pix2pixHD's global generator (Wang et al. 2018).

    Attributes:
        size: pixels across the picture that it reads and draws.
        filters: channels of its first layer.
        downs: times that it halves its map, doubling the channels.
        blocks: residual blocks in the middle.
        kernel: of the first and last convolution.
        fold: 1, or 2 to fold 2 x 2 pixels into channels first and unfold them last.
        skips: add the maps of the way down to those of the way up.
        masked: the background (exact zeros in all channels of the picture) stays zero.
    """

    size: int
    filters: int
    downs: int
    blocks: int
    kernel: int = 7
    fold: int = 1
    skips: bool = False
    masked: bool = False


@dataclass(frozen=True)
class PifuhdConfig:
    """The whole of PIFuHD.

    Attributes:
        name: of the preset it came from.
        image_size: pixels across the picture it is given (the fine level's).
        normal: the front and the back normal network.
        coarse: the coarse level's encoder.
        coarse_implicit: the coarse level's network of points.
        fine: the fine level's encoder.
        fine_implicit: the fine level's network of points.
        window: pixels across the windows of the picture that the fine level is trained on.
        depth_scale: the depth feature of a point half a cube in front of the middle.
        depth_waves: octaves of sines and cosines of the depth that are given beside it (the
            paper's has none; they are learnt from faster).
        use_normals: whether the encoders see normals beside the picture.
        use_pose: whether both levels are told where points lie in the head's axes, which the face
            fit knows (:mod:`.pose`; after JIFF, Cao et al. 2022; the paper has none).
        pose_waves: octaves of sines and cosines of these coordinates that are told beside them.
        fine_only: no coarse level: the fine one is given the depth itself (an ablation).
    """

    name: str
    image_size: int
    normal: NormalConfig
    coarse: EncoderConfig
    coarse_implicit: ImplicitConfig
    fine: EncoderConfig
    fine_implicit: ImplicitConfig
    window: int
    depth_scale: float = 1.28
    depth_waves: int = 0
    use_normals: bool = True
    use_pose: bool = False
    pose_waves: int = 4
    fine_only: bool = False

    def __post_init__(self) -> None:
        if self.fine.surfaces:
            raise InputError("PIFuHD: surfaces are the coarse level's to draw, not the fine one's")
        if self.fine.size != self.image_size:
            raise InputError("PIFuHD: the fine level reads the picture at its full size")
        for encoder in (self.coarse, self.fine):
            if encoder.map_size % 2**encoder.depth:
                raise InputError(
                    f"PIFuHD: a map of {encoder.map_size} px cannot be halved {encoder.depth} times"
                )

    def inputs_of(self, encoder: EncoderConfig) -> int:
        """Channels that an encoder reads: the picture, normals, and for surfaces the rays.

        The latter are zero where the head's axes are not known, so that weights fit either way.
        """
        return (9 if self.use_normals else 3) + (RAY_CHANNELS if encoder.surfaces else 0)

    @property
    def places(self) -> int:
        """Values that tell a point's place: its depth, and where it lies in the head's axes."""
        in_head = 3 * (1 + 2 * self.pose_waves) if self.use_pose else 0
        return 1 + 2 * self.depth_waves + in_head

    @property
    def context(self) -> int:
        """Values that the fine level knows of a point beside its own features.

        Omega alone in the paper; the place too where the head's axes are known.
        """
        if self.fine_only:
            return self.places
        return self.embedding + (self.places if self.use_pose else 0)

    @property
    def embedding(self) -> int:
        """Values of Omega, the coarse level's embedding of a point."""
        return self.coarse_implicit.hidden[self.coarse_implicit.embedding]

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> PifuhdConfig:
        """What :meth:`as_dict` gave, or JSON of it.

        Raises:
            InputError: entries are missing, unknown or impossible.
        """
        try:
            parts = {
                "normal": _part(NormalConfig, table["normal"]),
                "coarse": _part(EncoderConfig, table["coarse"]),
                "coarse_implicit": _part(ImplicitConfig, table["coarse_implicit"]),
                "fine": _part(EncoderConfig, table["fine"]),
                "fine_implicit": _part(ImplicitConfig, table["fine_implicit"]),
            }
            return _part(cls, {**table, **parts})
        except (KeyError, TypeError, AttributeError, IndexError, ZeroDivisionError) as error:
            raise InputError(
                f"PIFuHD: a configuration of other sizes: {one_line(error)}"
            ) from error


def _part(kind: type[_Config], table: Mapping[str, Any]) -> _Config:
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    check_kinds(kind, values, "PIFuHD", zero=_ZERO)
    return kind(**values)


def preset(name: str) -> PifuhdConfig:
    """A configuration by name.

    ``paper`` is exactly the paper's: pictures of 1024 px, about 390 million weights. ``small``
    reads 256 px and trains on one processor core in hours; it differs from the paper's in more than
    widths where that learns faster: the normal networks work on folded pixels with additive skips,
    each level is one deep hourglass that draws a volume of logits beside its features, the fine one
    sees whole pictures too, and points are told in the head's axes (of people whose heads' poses
    are not known, as of bodies, training leaves that away).

    ``surfaces`` is as large; its coarse level draws two surfaces instead of a volume. Where depth
    is hardly known, as of bodies, that keeps a person's thickness.

    Raises:
        InputError: there is no preset of that name.
    """
    if name == "paper":
        return PifuhdConfig(
            name="paper",
            image_size=1024,
            normal=NormalConfig(size=512, filters=64, downs=4, blocks=9),
            coarse=EncoderConfig(512, 64, 128, 256, 256, 4, 2, True, 32, "bicubic"),
            coarse_implicit=ImplicitConfig((1024, 512, 256, 128), (2, 3, 4), 2),
            fine=EncoderConfig(1024, 64, 128, 256, 16, 1, 4, False, 32, "bicubic"),
            fine_implicit=ImplicitConfig((512, 256, 128), (1, 2), 1),
            window=512,
        )
    if name == "small":
        return PifuhdConfig(
            name="small",
            image_size=256,
            normal=NormalConfig(256, 24, 3, 5, kernel=3, fold=2, skips=True, masked=True),
            coarse=EncoderConfig(128, 32, 64, 128, 64, 1, 4, True, 8, "bilinear", bins=64),
            coarse_implicit=ImplicitConfig((256, 128, 64, 32), (2, 3, 4), 2),
            fine=EncoderConfig(256, 16, 32, 64, 32, 1, 5, True, 8, "bilinear", bins=64),
            fine_implicit=ImplicitConfig((128, 64, 32), (1, 2), 1),
            window=256,
            use_pose=True,
            pose_waves=2,
        )
    if name == "surfaces":
        small = preset("small")
        return replace(
            small,
            name="surfaces",
            coarse=EncoderConfig(256, 24, 48, 96, 32, 1, 5, True, 8, "bilinear", surfaces=True),
            coarse_implicit=replace(small.coarse_implicit, most_added=3.0),
            fine=replace(small.fine, bins=0),
            fine_implicit=replace(small.fine_implicit, most_added=1.0),
        )
    raise InputError(f"PIFuHD: no preset {name!r}; there are {', '.join(PRESETS)}")
