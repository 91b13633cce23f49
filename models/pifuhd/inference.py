"""PIFuHD's network as the reconstruction uses it: from a crop to normals and an occupancy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from .octree import Occupancy

if TYPE_CHECKING:
    from .network import Pifuhd

_FLOATS_HELD: Final = 3.0
"""Of a point's widest layers, how many copies are held at once."""


@dataclass(frozen=True)
class Seen:
    """What a network sees in a crop.

    Attributes:
        occupancy: of the cube's points.
        front: front normals: x right, y up, z towards the camera; None where it draws none.
        back: back normals, in the front camera's pixels, z negated; None as well.
    """

    occupancy: Occupancy
    front: Float32[np.ndarray, "N N 3"] | None = None
    back: Float32[np.ndarray, "N N 3"] | None = None


@runtime_checkable
class Network(Protocol):
    """What the reconstruction needs of a network."""

    @property
    def size(self) -> int:
        """Side of the crops that it reads, px."""
        ...

    @property
    def bytes_per_point(self) -> float:
        """Memory that it takes for each point that it is asked for at once."""
        ...

    def see(
        self,
        image_bgr: UInt8[np.ndarray, "S S 3"],
        alpha: UInt8[np.ndarray, "S S"],
        head_from_cube: Float32[np.ndarray, "3 4"] | None = None,
    ) -> Seen:
        """Look at a crop."""
        ...


class TorchNetwork:
    """A :class:`~mien.models.pifuhd.network.Pifuhd` on a device."""

    def __init__(self, model: Pifuhd, device: str = "auto") -> None:
        """Take a model.

        Args:
            model: with its weights.
            device: ``cpu``, ``cuda``, or ``auto``: CUDA where there is one.

        Raises:
            InputError: CUDA is asked for, and there is none.
        """
        from ..learning.device import find_device  # torch is slow to import

        self._device = find_device(device)
        self._model = model.to(self._device).eval()

    @property
    def size(self) -> int:
        """Side of the crops that it reads, px."""
        return self._model.config.image_size

    @property
    def device(self) -> str:
        """Where it runs: ``cpu`` or ``cuda``."""
        return self._device.type

    @property
    def bytes_per_point(self) -> float:
        """Memory that it takes for each point that it is asked for at once."""
        config = self._model.config
        levels = (
            (config.coarse, config.places, config.coarse_implicit),
            (config.fine, config.context, config.fine_implicit),
        )
        widths = [
            encoder.outputs + encoder.told + beside + sum(implicit.hidden)
            for encoder, beside, implicit in levels
        ]
        return 4.0 * _FLOATS_HELD * max(widths)

    def see(
        self,
        image_bgr: UInt8[np.ndarray, "S S 3"],
        alpha: UInt8[np.ndarray, "S S"],
        head_from_cube: Float32[np.ndarray, "3 4"] | None = None,
    ) -> Seen:
        """Look at a crop.

        Args:
            image_bgr: the crop, of :attr:`size` px.
            alpha: what it leaves out is background.
            head_from_cube: to the head's axes (:mod:`.pose`), as the face fit has them; None where
                there is no face.

        Raises:
            InputError: the network must be told the head's axes, and was not.
        """
        import torch

        pixels = image_bgr[..., ::-1].astype(np.float32) / np.float32(127.5) - np.float32(1.0)
        shown = pixels * (alpha.astype(np.float32) / np.float32(255.0))[..., None]
        tensor = torch.from_numpy(np.ascontiguousarray(shown.transpose(2, 0, 1)))[None]
        told = None
        if head_from_cube is not None:
            told = torch.from_numpy(head_from_cube)[None].to(self._device)
        with torch.inference_mode():
            features = self._model.encode(tensor.to(self._device), None, told)

        def occupancy(points: Float32[np.ndarray, "P 3"]) -> Float32[np.ndarray, " P"]:
            with torch.inference_mode():
                asked = torch.from_numpy(np.ascontiguousarray(points))[None].to(self._device)
                return self._model.occupancy(features, asked)[0].float().cpu().numpy()

        return Seen(occupancy, _map(features.front), _map(features.back))


def _map(normals: Any) -> Float32[np.ndarray, "N N 3"] | None:
    if normals is None:
        return None
    return np.ascontiguousarray(normals[0].float().cpu().numpy().transpose(1, 2, 0))
