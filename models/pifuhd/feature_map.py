"""What encoders know of pictures, read at points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch.nn import functional

from .surface_sizes import CHANNELS
from .surfaces import logits_between, told_of


@dataclass(frozen=True)
class FeatureMap:
    """Features of a picture or of a window of it.

    Attributes:
        stacks: maps, one a stack of the hourglass, each (b, f, u, v).
        size: pixels across the map of the whole picture.
        corner: (b, 2) column and row of the window's first pixel on that map; None for a whole one.
        bins: the last so many channels are layers of a volume of logits, evenly over the cube's
            depth: the first lies at -1, the last at 1.
        surfaces: the last channels are :mod:`.surfaces` instead.
    """

    stacks: Sequence[Float[torch.Tensor, "b f u v"]]
    size: int
    corner: Int[torch.Tensor, "b 2"] | None = None
    bins: int = 0
    surfaces: bool = False

    def at(self, xy: Float[torch.Tensor, "b p 2"], stack: int = -1) -> Float[torch.Tensor, "b p f"]:
        """Features at points of the picture, bilinear; zero outside of the map.

        As in the paper the outer pixels' centres are the picture's edges (``align_corners``), in a
        window as in the whole.

        Args:
            xy: in the picture, from -1 to 1.
            stack: which map.
        """
        features = self.stacks[stack]
        return self._read(features[:, : features.shape[1] - self._channels], xy)

    def drawn(self, stack: int = -1) -> Float[torch.Tensor, "b d u v"]:
        """What is drawn beside the features."""
        maps = self.stacks[stack]
        return maps[:, maps.shape[1] - self._channels :].float()

    def base_at(
        self, points: Float[torch.Tensor, "b p 3"], stack: int = -1
    ) -> tuple[Float[torch.Tensor, "b p"], Float[torch.Tensor, "b p t"]] | None:
        """Logits of what is drawn, and what is told of it, at points; None where nothing is.

        A volume is read trilinearly, zero outside, and its logit is told. Surfaces are read
        bilinearly, as a picture's pixels lie (outer ones go on beyond their centres), and nothing
        learns them from these logits (:func:`~.surfaces.surface_loss`).

        Args:
            points: in the cube's coordinates.
            stack: which map's.
        """
        if not self._channels:
            return None
        drawn = self.drawn(stack)
        if self.surfaces:
            here = self._read(drawn, points[..., :2], centres=True).detach()
            return logits_between(here, points[..., 2]), told_of(here, points[..., 2])
        place = torch.cat([self._on_map(points[..., :2], drawn), points[..., 2:]], -1)
        sampled = functional.grid_sample(drawn[:, None], place[:, None, None], align_corners=True)
        logits = sampled[:, 0, 0, 0]
        return logits, logits[..., None]

    @property
    def _channels(self) -> int:
        return CHANNELS if self.surfaces else self.bins

    def _read(
        self,
        maps: Float[torch.Tensor, "b c u v"],
        xy: Float[torch.Tensor, "b p 2"],
        *,
        centres: bool = False,
    ) -> Float[torch.Tensor, "b p c"]:
        maps = maps.float()
        place = self._on_map(xy * self.size / (self.size - 1) if centres else xy, maps)
        padding = "border" if centres else "zeros"
        sampled = functional.grid_sample(
            maps, place[:, None], padding_mode=padding, align_corners=True
        )
        return sampled[:, :, 0].transpose(1, 2)

    def _on_map(self, xy: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Places of the whole picture, on what there is of its map; from -1 to 1."""
        if self.corner is None:
            return xy
        height, width = features.shape[-2:]
        pixel = (xy + 1) / 2 * (self.size - 1) - self.corner[:, None]
        return 2 * pixel / pixel.new_tensor([width - 1, height - 1]) - 1


@dataclass(frozen=True)
class Features:
    """What is known of pictures, as the implicit functions need it.

    Attributes:
        coarse: of the coarse level; None where there is none.
        fine: of the fine level; None while the coarse one is trained.
        front: the front normals drawn, if any.
        back: the back normals drawn, if any.
        head_from_cube: transforms to the head's axes (:mod:`.pose`), for a model that is told them.
    """

    coarse: FeatureMap | None
    fine: FeatureMap | None
    front: Float[torch.Tensor, "b 3 n n"] | None = None
    back: Float[torch.Tensor, "b 3 n n"] | None = None
    head_from_cube: Float[torch.Tensor, "b 3 4"] | None = None
