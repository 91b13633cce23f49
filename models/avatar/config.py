"""Sizes of the avatar's networks: the paper's own, and small ones that train on a processor.

The representation and the diffusion follow Ntavelis et al., "AutoDecoding Latent 3D Diffusion
Models" (NeurIPS 2023). ``paper`` has its sizes. ``small`` differs where a processor decides:

- an expression and a neutral scan go in, so grids are signed distances and colours of a face box
  (supervised directly, views rendered beside it) instead of densities learned from views alone;
- normalisation over the channels of each voxel, which costs a ninth of batch normalisation on a
  processor and lets a crop be decoded alone;
- the last doubling is a rearrangement of channels, since a layer at full resolution would cost as
  much as all others together;
- attention at 8^3 only: at 16^3 it would cost as much as the whole decoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Literal

from ..errors import InputError
from ..learning.sizes import check_kinds

Preset = Literal["small", "paper"]
PRESETS: Final[tuple[Preset, ...]] = ("small", "paper")
Representation = Literal["distance", "density"]
Norm = Literal["batch", "group", "local"]
Activation = Literal["relu", "silu"]

LATENT_CELLS: Final = (4, 8, 16)
"""Resolutions of the latent that are compared."""

_ZERO: Final = ("pieces", "mixing", "field_channels", "text_width")
"""Sizes that stand for nothing of a kind where they are 0."""
_LATENT_CHANNELS: Final = {4: 128, 8: 64, 16: 32}


@dataclass(frozen=True)
class AvatarConfig:
    """The networks between embedding, scan, latent and grid.

    Attributes:
        name: of the preset it came from.
        cells: N of the decoded grid of N^3 cells.
        latent_cells: cells along a side of the latent; N is this times a power of two.
        latent_channels: of the latent.
        embedding: values of an object's embedding.
        pieces: pieces of a hashed embedding; 0 for one free vector an object.
        table_bits: each piece comes from a codebook of 2^table_bits entries.
        representation: what the first channel of the grid is.
        widths: channels at each number of cells, as pairs.
        blocks: residual blocks at each resolution.
        mixing: residual blocks of the second generator (and the encoder) at the latent's
            resolution, after widening to that resolution's channels; 0 for none.
        attention: resolutions with self-attention.
        norm: normalisation within the blocks.
        activation: within the blocks.
        shuffled: whether the last doubling is a rearrangement of channels (and, in the encoder,
            the first halving).
        latent_noise: deviation of noise on the latent while the decoder trains; with the penalty
            it does what a small KL term would: the decoder tolerates what diffusion misses.
        latent_penalty: weight of the mean square of the latent.
        distance_weight: of the signed distance's L1, in cells.
        colour_weight: of the colour's L1 near the surface, of 0 to 1.
        perceptual_weight: of the pyramidal perceptual loss of rendered views.
        pixel_weight: of the L1 of rendered views.
        foreground_weight: of the L1 between occupancy and mask.
        views: views an object that are rendered a step.
        render_every: steps between two steps with rendering.
        render_objects: objects that are rendered in such a step.
        view_size: pixels across a rendered view.
        samples: points a ray.
        density_noise: deviation of the noise on densities at the start of a training.
        learning_rate: at its peak.
        betas: of Adam.
        clip: largest norm of the gradient.
        batch: objects a step.
    """

    name: str
    cells: int
    latent_cells: int
    latent_channels: int
    embedding: int
    pieces: int
    table_bits: int
    representation: Representation
    widths: tuple[tuple[int, int], ...]
    blocks: int
    mixing: int
    attention: tuple[int, ...]
    norm: Norm
    activation: Activation
    shuffled: bool
    latent_noise: float
    latent_penalty: float
    distance_weight: float
    colour_weight: float
    perceptual_weight: float
    pixel_weight: float
    foreground_weight: float
    views: int
    render_every: int
    render_objects: int
    view_size: int
    samples: int
    density_noise: float
    learning_rate: float
    betas: tuple[float, float]
    clip: float
    batch: int

    def __post_init__(self) -> None:
        ratio = self.cells // max(self.latent_cells, 1)
        if self.latent_cells < 2 or ratio * self.latent_cells != self.cells or ratio & (ratio - 1):
            raise InputError(
                f"avatar: a grid of {self.cells} cells does not come of a latent of "
                f"{self.latent_cells} by doubling"
            )
        if self.shuffled and ratio < 2:
            raise InputError("avatar: a shuffled head needs a grid finer than the latent")
        known = dict(self.widths)
        missing = [cells for cells in self.resolutions if cells not in known]
        if missing:
            raise InputError(f"avatar: no width for a resolution of {missing[0]} cells")
        if self.pieces and self.embedding % self.pieces:
            raise InputError(
                f"avatar: {self.embedding} values are not {self.pieces} pieces of one size"
            )

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Resolutions of the second generator's layers, from the latent's upwards."""
        last = self.cells // 2 if self.shuffled else self.cells
        steps = [self.latent_cells]
        while steps[-1] < last:
            steps.append(2 * steps[-1])
        return tuple(steps)

    def width(self, cells: int) -> int:
        """Channels at a resolution."""
        return dict(self.widths)[cells]

    @property
    def first_cells(self) -> int:
        """Cells along a side of what the embedding is spread to first."""
        return min(4, self.latent_cells)

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> AvatarConfig:
        """What :meth:`as_dict` gave, or JSON of it.

        Raises:
            InputError: entries are missing, unknown or impossible.
        """
        return cls(**_plain(cls, table, "avatar"))


@dataclass(frozen=True)
class DiffusionConfig:
    """The denoiser in the latent and how it is trained (Karras et al. 2022).

    Attributes:
        channels: of the U-Net, from the latent's resolution downwards.
        attention: whether each of these levels has self- and cross-attention.
        blocks: residual blocks a level.
        head_channels: channels of an attention head.
        groups: of the group normalisation.
        token_width: values of a token.
        field_channels: channels of a learned field a coefficient, scaled by its value and joined
            with the input: it says at full resolution where a coefficient acts, for a fraction of
            what attention at that resolution would cost; 0 for none.
        token_sets: name and number of coefficients of each vector that may condition.
        text_width: values of a token of a text encoder that may condition; 0 for none.
        neutral: whether the clean neutral's latent is joined with the noisy one.
        residual: whether latent(target) - latent(neutral) is generated, or latent(target).
        guide: whether what a statistical head says of the neutral and the vector is given too
            (:mod:`.guide`); a residual then begins from its latent.
        regression: no noise and no steps: the same network as a deterministic regression.
        robust: median and inter-quartile range, or mean and deviation (an ablation).
        per_channel: one pair a channel, or one for all.
        clamp: absolute latents are cut off so far out after normalising; 0 for not at all.
            Residuals never are: they are rare and large where the face moves.
        dropout: share of the examples whose condition is dropped in training.
        guidance: of the sampler unless said; 1 for none.
        temperature: deviation of the noise that sampling begins from, over that of training: what
            varies between samples shrinks with it, until at 0 the mean of all is made.
        sigma_data: deviation of what is diffused.
        p_mean: mean of ln sigma in training; the paper's -1.2 for generation. Where neutral and
            vector nearly say the result, what is learned far in the noise decides: ``small`` has
            more of that.
        p_std: its deviation.
        sigma_min: least noise of the sampler.
        sigma_max: largest noise of the sampler.
        rho: of the sampler's steps.
        average_decay: of the moving average of the weights.
        learning_rate: at its peak.
        clip: largest norm of the gradient.
        batch: examples a step.
    """

    channels: tuple[int, ...]
    attention: tuple[bool, ...]
    blocks: int
    head_channels: int
    groups: int
    token_width: int
    field_channels: int
    token_sets: tuple[tuple[str, int], ...] = (("blendshapes", 52),)
    text_width: int = 0
    neutral: bool = True
    residual: bool = True
    guide: bool = False
    regression: bool = False
    robust: bool = True
    per_channel: bool = True
    clamp: float = 10.0
    dropout: float = 0.12
    guidance: float = 1.0
    temperature: float = 1.0
    sigma_data: float = 1.0
    p_mean: float = -1.2
    p_std: float = 1.2
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0
    average_decay: float = 0.999
    learning_rate: float = 1e-4
    clip: float = 1.0
    batch: int = 16

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.attention):
            raise InputError("avatar: the U-Net needs one choice of attention a level")
        if self.residual and not self.neutral:
            raise InputError("avatar: a residual needs the neutral it is added to")
        if self.guide and not (self.neutral and "blendshapes" in dict(self.token_sets)):
            raise InputError("avatar: a guide needs a neutral face and blendshapes")
        if not 0.0 <= self.temperature <= 2.0:
            raise InputError(f"avatar: a temperature of {self.temperature}, expected 0 to 2")

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> DiffusionConfig:
        """What :meth:`as_dict` gave, or JSON of it.

        Raises:
            InputError: entries are missing, unknown or impossible.
        """
        # Weights of before there were guides and temperatures do not speak of them.
        before = {"guide": False, "temperature": 1.0}
        return cls(**_plain(cls, {**before, **table}, "diffusion"))


def avatar_preset(name: Preset, *, cells: int | None = None) -> AvatarConfig:
    """The networks of a preset.

    Args:
        name: ``paper``: 1024 values, 512 x 4^3 to 32 x 64^3, latent 256 x 8^3. ``small``: 32^3
            cells, latent 64 x 8^3.
        cells: of the grid, where it is another: 32 or 64.

    Raises:
        InputError: there is no such preset.
    """
    if name == "paper":
        config = AvatarConfig(
            name="paper", cells=64, latent_cells=8, latent_channels=256,
            embedding=1024, pieces=256, table_bits=13, representation="density",
            widths=((4, 512), (8, 256), (16, 128), (32, 64), (64, 32)),
            blocks=4, mixing=0, attention=(8, 16), norm="batch", activation="relu",
            shuffled=False, latent_noise=0.0, latent_penalty=0.0,
            distance_weight=0.0, colour_weight=0.0, perceptual_weight=10.0, pixel_weight=0.0,
            foreground_weight=10.0, views=4, render_every=1, render_objects=64, view_size=128,
            samples=128, density_noise=0.5, learning_rate=5e-4, betas=(0.5, 0.999), clip=0.1,
            batch=8,
        )  # fmt: skip
    elif name == "small":
        config = AvatarConfig(
            name="small", cells=32, latent_cells=8, latent_channels=64,
            embedding=256, pieces=0, table_bits=13, representation="distance",
            widths=((4, 192), (8, 128), (16, 64), (32, 32)),
            blocks=1, mixing=1, attention=(8,), norm="local", activation="silu",
            shuffled=True, latent_noise=0.15, latent_penalty=1e-3,
            distance_weight=1.0, colour_weight=2.0, perceptual_weight=0.02, pixel_weight=0.5,
            foreground_weight=0.5, views=1, render_every=8, render_objects=2, view_size=32,
            samples=64, density_noise=0.0, learning_rate=2e-3, betas=(0.9, 0.99), clip=1.0,
            batch=8,
        )  # fmt: skip
    else:
        raise InputError(f"avatar: no preset {name!r}; there are {', '.join(PRESETS)}")
    return config if cells is None else replace(config, cells=cells)


def diffusion_preset(name: Preset, latent_cells: int = 8) -> DiffusionConfig:
    """The denoiser of a preset, for a latent of so many cells along a side.

    Raises:
        InputError: there is no such preset, or no U-Net for such a latent.
    """
    if name not in PRESETS:
        raise InputError(f"avatar: no preset {name!r}; there are {', '.join(PRESETS)}")
    if latent_cells not in LATENT_CELLS:
        raise InputError(f"avatar: a latent of {latent_cells} cells, expected one of 4, 8, 16")
    if name == "paper":
        channels = {4: (576, 768), 8: (576, 768), 16: (384, 576, 768)}[latent_cells]
        attention = {4: (True, True), 8: (True, True), 16: (False, True, True)}[latent_cells]
        return DiffusionConfig(
            channels, attention, blocks=2, head_channels=64, groups=32, token_width=256,
            field_channels=0, guidance=3.0, average_decay=0.9999, batch=64,
        )  # fmt: skip
    channels = {4: (128, 192), 8: (64, 96), 16: (32, 64, 96)}[latent_cells]
    attention = {4: (True, True), 8: (False, True), 16: (False, False, True)}[latent_cells]
    return DiffusionConfig(
        channels, attention, blocks=1, head_channels=32, groups=16, token_width=64,
        field_channels=16, learning_rate=5e-4, p_mean=-0.4,
    )  # fmt: skip


def with_latent(config: AvatarConfig, latent_cells: int) -> AvatarConfig:
    """The same grid from another latent; finer latents have fewer channels, as in the paper.

    Raises:
        InputError: no such latent is compared.
    """
    if latent_cells not in LATENT_CELLS:
        raise InputError(f"avatar: a latent of {latent_cells} cells, expected one of 4, 8, 16")
    if config.name == "paper":
        channels = config.width(latent_cells)
    else:
        channels = _LATENT_CHANNELS[latent_cells]
    return replace(config, latent_cells=latent_cells, latent_channels=channels)


def _plain(kind: type, table: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Entries for a dataclass, lists as tuples."""
    names = {field.name for field in fields(kind)}
    if set(table) != names:
        odd = sorted(names ^ set(table))
        raise InputError(f"{what}: a configuration of other entries: {', '.join(odd[:4])}")
    values = {name: _tuples(value) for name, value in table.items()}
    check_kinds(kind, values, what, zero=_ZERO, negative=("p_mean",))
    return values


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list | tuple) else value
