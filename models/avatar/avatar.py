"""The avatar's networks together: those that a file of weights or a stage of training has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import nn

from ..errors import InputError
from ..learning.layout import channels_last
from ..scans.box import FaceBox
from .autodecoder import Generator1, Generator2, Latent, Volume
from .config import AvatarConfig, DiffusionConfig
from .embeddings import make_embeddings
from .encoder import Encoder, encoder_input
from .guide import Guide
from .keypoints import KeypointConfig, Keypoints
from .unet import LatentDiffusion

_SURFACE_DENSITY = 0.05
"""Per mm: where the surface of a density is taken."""


class Grids(NamedTuple):
    """Faces over the box.

    Attributes:
        sdf: (F, N, N, N) signed distance at the centres of cells, mm, negative inside, truncated.
        colour: (F, N, N, N, 3) sRGB, red first.
    """

    sdf: Float32[np.ndarray, "F N N N"]
    colour: UInt8[np.ndarray, "F N N N 3"]


class Avatar(nn.Module):
    """Decoder, and as far as they are there: embeddings, encoder, diffusion.

    Args:
        config: sizes.
        objects: training objects with embeddings of their own; 0 for no autodecoder.
        keypoints: configuration of what finds the poses of parts in pictures, if objects move.
        encoder: whether scans can be encoded.
        diffusion: configuration of the denoiser, if there is one.

    Attributes:
        guide: what a denoiser with a guide begins from; None until it is given one.
    """

    def __init__(
        self,
        config: AvatarConfig,
        *,
        objects: int = 0,
        keypoints: KeypointConfig | None = None,
        encoder: bool = False,
        diffusion: DiffusionConfig | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.objects = objects
        self.g2 = Generator2(config, keypoints.parts if keypoints else 0)
        self.keypoints = Keypoints(keypoints) if keypoints else None
        self.embeddings = make_embeddings(config, objects) if objects else None
        self.g1 = Generator1(config) if objects else None
        self.encoder = Encoder(config) if encoder else None
        self.diffusion = (
            LatentDiffusion(diffusion, config.latent_channels, config.latent_cells)
            if diffusion
            else None
        )
        self.guide: Guide | None = None
        channels_last(self)

    @property
    def box(self) -> FaceBox:
        """Where the grids lie."""
        return FaceBox(self.config.cells)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.g2.parameters()).device

    def embedded(self, objects: Int64[torch.Tensor, " b"]) -> Latent:
        """Latents of training objects by their numbers.

        Raises:
            InputError: there is no autodecoder.
        """
        if self.embeddings is None or self.g1 is None:
            raise InputError("avatar: these weights have no autodecoder")
        return self.g1(self.embeddings(objects))

    def encode(
        self,
        sdf: Float32[np.ndarray, "b n n n"],
        seen: UInt8[np.ndarray, "b n n n"],
        colour: UInt8[np.ndarray, "b n n n 3"],
    ) -> Latent:
        """Latents of scans.

        Args:
            sdf: signed distance, mm, negative inside.
            seen: weight of observation; 255 everywhere for a complete, clean grid.
            colour: sRGB, red first.

        Raises:
            InputError: there is no encoder, or grids of another size.
        """
        if self.encoder is None:
            raise InputError("avatar: these weights have no encoder of scans")
        n = self.config.cells
        if sdf.shape[1:] != (n, n, n):
            raise InputError(f"avatar: grids of {sdf.shape[1:]} cells, expected {n}^3")
        parts = (torch.from_numpy(np.ascontiguousarray(part)) for part in (sdf, seen, colour))
        a, b, c = (part.to(self.device) for part in parts)
        return self.encoder(encoder_input(a, b, c, self.box.truncation))

    def decode(self, latent: Latent) -> Volume:
        """Grids of latents, in the network's own units."""
        return self.g2(latent)

    @torch.no_grad()
    def grids(self, latent: Latent, at_once: int = 8) -> Grids:
        """Faces of latents: mm and sRGB.

        Args:
            latent: any number of them.
            at_once: how many are decoded together.
        """
        found = [self.grids_of_volume(self.decode(part)) for part in latent.split(at_once)]
        return joined(found)

    def grids_of_volume(self, volume: Volume) -> Grids:
        """What the network decoded, as mm and sRGB."""
        box = self.box
        limit = box.truncation
        if self.config.representation == "distance":
            distance = volume.shape * float(box.edges.max())
        else:
            # No distance: any field with the same surface.
            distance = limit * (1 - volume.shape / _SURFACE_DENSITY)
        sdf = distance.clamp(-limit, limit).squeeze(1).detach().cpu().float().numpy()
        colour = (255 * volume.colour).round().byte().permute(0, 2, 3, 4, 1)
        return Grids(sdf, np.ascontiguousarray(colour.detach().cpu().numpy()))


def joined(parts: Sequence[Grids]) -> Grids:
    """Grids one after the other."""
    return Grids(
        np.concatenate([part.sdf for part in parts]),
        np.concatenate([part.colour for part in parts]),
    )


def pooled_seen(
    seen: UInt8[torch.Tensor, "b n n n"], cells: int
) -> Float[torch.Tensor, "b 1 l l l"]:
    """Share of the cells that were observed, at the latent's resolution.

    Args:
        seen: weight of observation, 0 where nothing was seen.
        cells: of the latent along a side.
    """
    known = (seen > 0).float()[:, None]
    return nn.functional.avg_pool3d(known, seen.shape[-1] // cells)
