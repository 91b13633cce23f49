"""PIFuHD: multi-level pixel-aligned implicit functions (Saito, Simon, Saragih, Joo 2020).

Parameters are named as in the published checkpoint: ``netG`` is the coarse level with the normal
networks ``netF`` and ``netB``; what stands beside it is the fine level.
"""

from __future__ import annotations

from typing import Final, Literal

import torch
from jaxtyping import Float, Int
from torch import nn
from torch.nn import functional

from ..errors import InputError
from .answers import asked, known_of, values_told
from .config import EncoderConfig, PifuhdConfig
from .feature_map import FeatureMap, Features
from .hourglass import HourglassEncoder
from .implicit import ImplicitNetwork
from .normals import NormalNetwork
from .surfaces import rays_in_head

Level = Literal["coarse", "fine"]
_NO_POSE: Final = (
    "PIFuHD: this model is told where the head's axes are, and no face was given: "
    "expected a face, or weights that were trained without"
)


class CoarseLevel(nn.Module):
    """The coarse level's two networks, and those of the normals."""

    def __init__(self, config: PifuhdConfig) -> None:
        super().__init__()
        if not config.fine_only:
            self.image_filter = HourglassEncoder(config.coarse, config.inputs_of(config.coarse))
            told = values_told(config.coarse) + config.places
            self.mlp = ImplicitNetwork(config.coarse_implicit, told)
        if config.use_normals:
            self.netF = NormalNetwork(config.normal)
            self.netB = NormalNetwork(config.normal)


class Pifuhd(nn.Module):
    """Occupancy of space from one picture.

    Coordinates are those of the cube: x to the picture's right, y down, z away from the viewer,
    from -1 to 1; pixel i of S has its centre at (2 i + 1) / S - 1.

    Args:
        config: sizes.
    """

    def __init__(self, config: PifuhdConfig) -> None:
        super().__init__()
        self.config = config
        self.netG = CoarseLevel(config)
        self.image_filter = HourglassEncoder(config.fine, config.inputs_of(config.fine))
        told = values_told(config.fine) + config.context
        self.mlp = ImplicitNetwork(config.fine_implicit, told)

    def normals(
        self, image: Float[torch.Tensor, "b 3 s s"]
    ) -> tuple[Float[torch.Tensor, "b 3 n n"], Float[torch.Tensor, "b 3 n n"]]:
        """Front and back normals in the front camera's pixel grid.

        Channels: x to the right, y up, z towards the front camera (in the back map with z negated),
        about a unit long on the person and zero beside.

        Args:
            image: RGB from -1 to 1, the background zero.

        Raises:
            InputError: this model was made without normals.
        """
        if not self.config.use_normals:
            raise InputError("PIFuHD: this model was trained without normals and draws none")
        image = _resized(image, self.config.normal.size)
        return self.netG.netF(image), self.netG.netB(image)

    def encode(
        self,
        image: Float[torch.Tensor, "b 3 s s"],
        normals: tuple[Float[torch.Tensor, "b 3 n n"], Float[torch.Tensor, "b 3 n n"]]
        | None = None,
        head_from_cube: Float[torch.Tensor, "b 3 4"] | None = None,
    ) -> Features:
        """Features of both levels of whole pictures.

        Args:
            image: RGB from -1 to 1, the background zero; of the configuration's ``image_size``.
            normals: front and back, instead of those that the model draws itself.
            head_from_cube: transforms to the head's axes, for a model with ``use_pose``; others
                take no notice.

        Raises:
            InputError: the picture has another size, or the transforms are missing.
        """
        if self.config.use_pose and head_from_cube is None:
            raise InputError(_NO_POSE)
        size = self.config.image_size
        if image.shape[-2:] != (size, size):
            height, width = image.shape[-2:]
            raise InputError(
                f"PIFuHD: expected a picture of {size} x {size} px, got {width} x {height}"
            )
        front = back = None
        if self.config.use_normals:
            front, back = normals or self.normals(image)
        coarse = None
        if not self.config.fine_only:
            coarse = self.encode_coarse(image, front, back, head_from_cube)
        fine = self.encode_fine(image, front, back)
        return Features(coarse, fine, front, back, head_from_cube)

    def encode_coarse(
        self,
        image: Float[torch.Tensor, "b 3 s s"],
        front: Float[torch.Tensor, "b 3 n n"] | None,
        back: Float[torch.Tensor, "b 3 n n"] | None,
        head_from_cube: Float[torch.Tensor, "b 3 4"] | None = None,
    ) -> FeatureMap:
        """Features of the coarse level.

        Args:
            image: RGB from -1 to 1, the background zero.
            front: front normals; None where the model uses none.
            back: back normals.
            head_from_cube: transforms to the head's axes, for an encoder that is told them.

        Raises:
            InputError: normals or transforms are missing.
        """
        config = self.config.coarse
        seen = self._inputs(image, front, back, config, head_from_cube)
        maps = self.netG.image_filter(seen)
        return FeatureMap(maps, config.map_size, None, config.bins, config.surfaces)

    def encode_fine(
        self,
        image: Float[torch.Tensor, "b 3 s s"],
        front: Float[torch.Tensor, "b 3 n n"] | None,
        back: Float[torch.Tensor, "b 3 n n"] | None,
        corner: Int[torch.Tensor, "b 2"] | None = None,
    ) -> FeatureMap:
        """Features of the fine level, of whole pictures or of windows of them.

        Args:
            image: RGB from -1 to 1, the background zero.
            front: front normals; None where the model uses none.
            back: back normals.
            corner: column and row of each window's first pixel, even numbers; the windows are of
                the configuration's size.

        Raises:
            InputError: normals are missing.
        """
        config = self.config.fine
        seen = self._inputs(image, front, back, config, None)
        if corner is None:
            return FeatureMap(self.image_filter(seen), config.map_size, bins=config.bins)
        side = self.config.window
        windows = [
            picture[:, row : row + side, column : column + side]
            for picture, (column, row) in zip(seen, corner.tolist(), strict=True)
        ]
        maps = self.image_filter(torch.stack(windows))
        return FeatureMap(maps, config.map_size, corner // config.stride, config.bins)

    def occupancy(
        self,
        features: Features,
        points: Float[torch.Tensor, "b p 3"],
        level: Level = "fine",
    ) -> Float[torch.Tensor, "b p"]:
        """How likely points are inside, from 0 to 1; 0.5 is the surface, beyond the cube is 0.

        Args:
            features: of the pictures.
            points: in the cube's coordinates.
            level: of which level.
        """
        return self.occupancies(features, points, level, inner_share=0)[-1]

    def occupancies(
        self,
        features: Features,
        points: Float[torch.Tensor, "b p 3"],
        level: Level,
        inner_share: float = 1.0,
    ) -> list[Float[torch.Tensor, "b _"]]:
        """As :meth:`occupancy`, by all that is trained of that level; the last is the answer.

        Each stack of its hourglass, and before these the last stack's volume alone where it has
        one (its logits are what the stack's implicit network adds to). Surfaces are not listed.

        Args:
            features: of the pictures.
            points: in the cube's coordinates.
            level: of which level.
            inner_share: share of the points, from the first on, that all stacks but the last are
                asked for; 0 leaves these out.

        Raises:
            InputError: there are no features of that level, or the head's axes are not known.
        """
        inside = (points.abs() <= 1).all(-1)
        place = self._place(points, features.head_from_cube)
        coarse, base = features.coarse, None
        if level == "coarse":
            if coarse is None:
                raise InputError("PIFuHD: this model has no coarse level")
            found = asked(self.netG.mlp, coarse, points, place, None, inner_share)
        else:
            fine, context = features.fine, place
            if fine is None:
                raise InputError("PIFuHD: the features are of the coarse level alone")
            if coarse is not None:
                known, drawn = known_of(coarse, points, place)
                logits, context = self.netG.mlp(known, drawn)
                base = None if drawn is None else logits
                if self.config.use_pose:
                    context = torch.cat([context, place], -1)
            found = asked(self.mlp, fine, points, context, base, inner_share)
        return [torch.sigmoid(f.float()) * inside[:, : f.shape[1]] for f in found]

    def _place(
        self,
        points: Float[torch.Tensor, "b p 3"],
        head_from_cube: Float[torch.Tensor, "b 3 4"] | None,
    ) -> Float[torch.Tensor, "b p d"]:
        """What tells the place of points beside the features of their pixels.

        The depth, which grows towards the viewer as the paper's; then head units, if used.
        """
        towards = -points[..., 2:]
        told = [towards * self.config.depth_scale, *_waves(towards, self.config.depth_waves)]
        if self.config.use_pose:
            if head_from_cube is None:
                raise InputError(_NO_POSE)
            linear, offset = head_from_cube[..., :3], head_from_cube[..., 3]
            in_head = points @ linear.transpose(1, 2) + offset[:, None]
            told += [in_head, *_waves(in_head, self.config.pose_waves)]
        return torch.cat(told, -1)

    def _inputs(
        self,
        image: torch.Tensor,
        front: torch.Tensor | None,
        back: torch.Tensor | None,
        encoder: EncoderConfig,
        head_from_cube: torch.Tensor | None,
    ) -> torch.Tensor:
        size = encoder.size
        seen = [_resized(image, size)]
        if self.config.use_normals:
            if front is None or back is None:
                raise InputError(
                    "PIFuHD: this model sees normals beside the picture; none were given"
                )
            seen += [_resized_normals(front, size), _resized_normals(back, size)]
        if encoder.surfaces:
            axes = head_from_cube
            if not self.config.use_pose:
                axes = image.new_zeros((len(image), 3, 4))
            if axes is None:
                raise InputError(_NO_POSE)
            seen.append(rays_in_head(axes, size))
        return torch.cat(seen, 1)


def _waves(values: Float[torch.Tensor, "b p v"], octaves: int) -> list[torch.Tensor]:
    """Sines and cosines of pi, 2 pi, 4 pi and so on times the values."""
    phases = [torch.pi * 2**octave * values for octave in range(octaves)]
    return [wave for phase in phases for wave in (phase.sin(), phase.cos())]


def _resized(image: torch.Tensor, size: int) -> torch.Tensor:
    """A picture of another size; halves are exact means."""
    if image.shape[-1] == size:
        return image
    return functional.interpolate(image, size=(size, size), mode="bilinear", align_corners=False)


def _resized_normals(normals: torch.Tensor, size: int) -> torch.Tensor:
    """As :func:`_resized`; enlarged by their outer pixels' centres, as the paper's are."""
    if normals.shape[-1] < size:
        return functional.interpolate(
            normals, size=(size, size), mode="bilinear", align_corners=True
        )
    return _resized(normals, size)
