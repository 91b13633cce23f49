"""The tri-plane generator: codes to planes, planes and a camera to a picture (Chan et al. 2022).

Pictures are RGB from -1 to 1 over black. The world is EG3D's: x to the right of who looks at the
face, y up, z out of the face; see :mod:`.cameras`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import nn

from .backbone import SynthesisNetwork
from .cameras import rays
from .config import PortraitConfig
from .mapping import GaussianMapping, MappingNetwork, mapping_of
from .renderer import RayColours, render_rays
from .superresolution import SuperResolution
from .triplane import TriplaneDecoder, sample_planes, widened


class Backbone(nn.Module):
    """Mapping and synthesis under the published names."""

    def __init__(
        self, mapping: MappingNetwork | GaussianMapping, synthesis: SynthesisNetwork
    ) -> None:
        super().__init__()
        self.mapping = mapping
        self.synthesis = synthesis


class Rendering(NamedTuple):
    """A rendered batch.

    Attributes:
        image: (b, 3, S, S) the finished picture, RGB, -1 to 1.
        raw: (b, 3, s, s) the colours that the rays saw, before super-resolution.
        depth: (b, 1, s, s) distance along the ray, world units.
        mask: (b, 1, s, s) how much of the ray is caught, 0 to 1.
    """

    image: Float[torch.Tensor, "b 3 S S"]
    raw: Float[torch.Tensor, "b 3 s s"]
    depth: Float[torch.Tensor, "b 1 s s"]
    mask: Float[torch.Tensor, "b 1 s s"]


class Planes(NamedTuple):
    """Heads as fields.

    Attributes:
        features: (b, 3, c, R, R).
        w: (b, w_dim) the last code, which the super-resolution needs.
    """

    features: Float[torch.Tensor, "b 3 c R R"]
    w: Float[torch.Tensor, "b d"]


class Generator(nn.Module):
    """Mapping, backbone, decoder and super-resolution; sized by its configuration."""

    def __init__(self, config: PortraitConfig | None = None) -> None:
        super().__init__()
        self.config = config or PortraitConfig()
        sizes = self.config
        self.backbone = Backbone(mapping_of(sizes), SynthesisNetwork(sizes))
        self.decoder = TriplaneDecoder(
            sizes.plane_channels, sizes.decoder_hidden, sizes.feature_channels
        )
        self.superresolution = SuperResolution(sizes)

    @property
    def mapping(self) -> MappingNetwork | GaussianMapping:
        """From z to codes."""
        return self.backbone.mapping

    def map(
        self,
        z: Float[torch.Tensor, "b z"],
        label: Float[torch.Tensor, "#b 25"],
        light: Float[torch.Tensor, "#b 9"] | None = None,
        truncation: float = 1.0,
    ) -> Float[torch.Tensor, "b w"]:
        """Codes of standard normal z.

        Args:
            z: what is drawn.
            label: the camera to condition with, not the one to render with: the frontal one.
            light: spherical harmonics; None for the mean light.
            truncation: below 1, codes are drawn towards the mean.

        Raises:
            InputError: a light is given to a generator that takes none.
        """
        return self.backbone.mapping(z, label, light, truncation)

    def repeated(self, w: Float[torch.Tensor, "b w"]) -> Float[torch.Tensor, "b l w"]:
        """One code for every layer: (b, n_ws, w_dim)."""
        return w[:, None].expand(-1, self.config.n_ws, -1)

    def noise_maps(self) -> list[Float[torch.Tensor, "1 1 _ _"]]:
        """The backbone's fixed noise, in order; what may stand in its place has these shapes."""
        return self.backbone.synthesis.noise_maps()

    def planes(
        self,
        w: Float[torch.Tensor, "b w"] | Float[torch.Tensor, "b l w"],
        noise: Sequence[torch.Tensor] | None = None,
    ) -> Planes:
        """Planes of codes, one for all layers or one for each.

        Args:
            w: (b, w_dim), or (b, n_ws, w_dim).
            noise: maps in place of :meth:`noise_maps`.
        """
        ws = self.repeated(w) if w.ndim == 2 else w
        flat = self.backbone.synthesis(ws, noise)
        sizes = self.config
        features = flat.view(len(ws), 3, sizes.plane_channels, *flat.shape[2:])
        return Planes(features, ws[:, -1])

    def field(
        self, planes: Planes, points: Float[torch.Tensor, "b n 3"]
    ) -> tuple[Float[torch.Tensor, "b n"], Float[torch.Tensor, "b n f"]]:
        """Density before its softplus, and features (colour first, 0 to 1), at world places."""
        sizes = self.config
        return self.decoder(sample_planes(planes.features, points, sizes.plane_axes, sizes.box))

    def density(
        self, planes: Planes, points: Float[torch.Tensor, "b n 3"]
    ) -> Float[torch.Tensor, "b n"]:
        """Density, a world unit, of points: ``softplus(s - 1)``."""
        return nn.functional.softplus(self.field(planes, points)[0] - 1)

    def render_rays(
        self,
        planes: Planes,
        origins: Float[torch.Tensor, "b r 3"],
        directions: Float[torch.Tensor, "b r 3"],
        generator: torch.Generator | None = None,
        samples: tuple[int, int] | None = None,
    ) -> RayColours:
        """What rays see; features from -1 to 1, colour (RGB) first.

        Args:
            planes: of as many heads.
            origins: world units.
            directions: unit vectors.
            generator: of the jitter; None for none.
            samples: a ray of both passes, instead of the configured ones.
        """
        sizes = self.config
        seen = render_rays(
            lambda points: self.field(planes, points),
            origins,
            directions,
            (sizes.near, sizes.far),
            samples or (sizes.coarse, sizes.fine),
            generator,
        )
        return seen._replace(features=widened(seen.features, seen.mask) * 2 - 1)

    def colours(
        self, planes: Planes, points: Float[torch.Tensor, "b n 3"]
    ) -> Float[torch.Tensor, "b n 3"]:
        """RGB of points, about 0 to 1."""
        return widened(self.field(planes, points)[1][..., :3])

    def render(
        self,
        planes: Planes,
        labels: Float[torch.Tensor, "v 25"],
        size: int | None = None,
        generator: torch.Generator | None = None,
        samples: tuple[int, int] | None = None,
    ) -> Rendering:
        """Pictures of heads.

        Args:
            planes: of b heads.
            labels: a whole number of cameras for each head, those of one head together.
            size: side of the volume rendering, px; default the configured one.
            generator: of the jitter; None for none.
            samples: a ray of both passes, instead of the configured ones.
        """
        size = size or self.config.render_size
        heads, views = len(planes.w), len(labels) // len(planes.w)
        origins, directions = (
            ray.reshape(heads, views * size * size, 3) for ray in rays(labels, size)
        )
        seen = self.render_rays(planes, origins, directions, generator, samples)
        return self.picture(planes, seen, size)

    def picture(self, planes: Planes, seen: RayColours, size: int) -> Rendering:
        """Whole pictures of all their rays, row by row."""
        heads = len(planes.w)
        views = seen.mask.shape[1] // (size * size)
        features = seen.features.view(heads * views, size, size, -1).permute(0, 3, 1, 2)
        w = planes.w.repeat_interleave(views, 0)
        raw = features[:, :3]
        return Rendering(
            image=self.superresolution(raw, features, w),
            raw=raw,
            depth=seen.depth.view(-1, 1, size, size),
            mask=seen.mask.view(-1, 1, size, size),
        )

    def synthesise(
        self,
        ws: Float[torch.Tensor, "b w"] | Float[torch.Tensor, "b l w"],
        labels: Float[torch.Tensor, "v 25"],
        noise: Sequence[torch.Tensor] | None = None,
        size: int | None = None,
    ) -> Rendering:
        """Pictures of codes: :meth:`planes`, then :meth:`render`."""
        return self.render(self.planes(ws, noise), labels, size)

    forward = synthesise
