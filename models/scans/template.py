"""The statistical closed head: people's heads as a mean and components, with units of expression.

    neutral(c) = mean + sum_k c_k shapes_k        c ~ Normal(0, 1)
    moved(c, w) = neutral(c) + sum_u w_u units_u

It has what no scan shows, the inside of the mouth and what lies behind hair, as it usually goes
with what a scan does show. It is made of the people whom ``mien synthesize scans`` draws, but of
none of those in the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from ..archives import read_npz
from ..errors import InputError
from ..face.names import N_BLENDSHAPES
from ..writing import whole_file
from .placing import HeadPlacer

TEMPLATE: Final = "template.npz"
"""Its name in a folder of data, and beside weights that need it."""
_PLACER: Final = "placer."
_HALVED: Final = ("shapes", "units")
"""In half precision on disk: 0.02 mm off."""
_MOST_BYTES: Final = 1 << 28
_EXPECTED: Final[dict[str, tuple[type, str]]] = {
    "mean": (np.float32, "V 3"),
    "shapes": (np.float32, "K V 3"),
    "units": (np.float32, f"{N_BLENDSHAPES} V 3"),
    "triangles": (np.int32, "M 3"),
    "kinds": (np.uint8, "M"),
    "parts": (np.int32, "S 2"),
    "seen": (np.int32, "F"),
    **{f"{_PLACER}{name}": (np.int32, f"n{name}") for name in ("balls.0", "balls.1")},
    **{f"{_PLACER}{name}": (np.int32, f"n{name}") for name in ("gums.0", "gums.1")},
    f"{_PLACER}lips": (np.int32, "6"),
    **{
        f"{_PLACER}{eye}.{name}": (kind, axes.format(eye))
        for eye in ("right_eye", "left_eye", "mouth")
        for name, kind, axes in (
            ("loop", np.int32, "L{0}"),
            ("inner", np.int32, "I{0}"),
            ("weights", np.float32, "I{0} L{0}"),
        )
    },
}
"""Kind and axes of everything in a file."""
_OWN: Final = ("mean", "shapes", "units", "triangles", "kinds", "parts", "seen")


@dataclass(frozen=True)
class HeadTemplate:
    """The statistical closed head in the head frame of the neutral face, mm.

    Attributes:
        mean: mean neutral head.
        shapes: components, one deviation each.
        units: displacements of the ARKit units.
        triangles: counter-clockwise from outside.
        kinds: of the triangles, see :mod:`.closed_head`.
        parts: ranges of triangles of the solids whose union the head is.
        seen: vertices of the skin that a scan of a neutral face may show.
        placer: fills eyes and mouth.
    """

    mean: Float32[np.ndarray, "V 3"]
    shapes: Float32[np.ndarray, "K V 3"]
    units: Float32[np.ndarray, "52 V 3"]
    triangles: Int32[np.ndarray, "M 3"]
    kinds: UInt8[np.ndarray, " M"]
    parts: Int32[np.ndarray, "S 2"]
    seen: Int32[np.ndarray, " F"]
    placer: HeadPlacer

    def neutral(self, shape: Float32[np.ndarray, " K"]) -> Float32[np.ndarray, "V 3"]:
        """A head without expression; eyes and mouth are not yet placed."""
        return self.mean + np.tensordot(shape.astype(np.float32), self.shapes, 1)

    def placed(
        self, neutral: Float32[np.ndarray, "V 3"], blendshapes: Float32[np.ndarray, " 52"]
    ) -> Float32[np.ndarray, "V 3"]:
        """The closed head of :meth:`neutral` with an expression."""
        moved = neutral + np.tensordot(blendshapes.astype(np.float32), self.units, 1)
        return self.placer.placed(moved, neutral)

    def save(self, path: Path) -> None:
        """Write it, in half precision.

        Raises:
            OutputError: it cannot be written.
        """
        arrays = {name: getattr(self, name) for name in _OWN}
        arrays |= {f"{_PLACER}{name}": value for name, value in self.placer.arrays().items()}
        for name in _HALVED:
            arrays[name] = arrays[name].astype(np.float16)
        with whole_file(path) as part, part.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> HeadTemplate:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: the file is missing, damaged or of another kind.
        """
        try:
            arrays = read_npz(path, tuple(_EXPECTED), most_bytes=_MOST_BYTES)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
        except ValueError as error:
            raise InputError(f"{path}: not a template of heads: {error}") from error
        for name in _HALVED:
            if arrays[name].dtype == np.float16:
                arrays[name] = arrays[name].astype(np.float32)
        fault = _fault(arrays)
        if fault:
            raise InputError(f"{path}: damaged: {fault}")
        placer = HeadPlacer.of_arrays(
            {n.removeprefix(_PLACER): v for n, v in arrays.items() if n.startswith(_PLACER)}
        )
        return cls(*(arrays[name] for name in _OWN), placer=placer)


def _fault(arrays: Mapping[str, np.ndarray]) -> str:
    """What makes arrays that were read unusable; "" for nothing."""
    sizes: dict[str, int] = {}
    for name, (kind, axes) in _EXPECTED.items():
        value = arrays[name]
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            return f"{name} is not finite"
        # The first array that has an axis says how long it is.
        known = [sizes.setdefault(a, n) for a, n in zip(axes.split(), value.shape, strict=False)]
        wanted = [int(a) if a.isdigit() else n for a, n in zip(axes.split(), known, strict=False)]
        if value.dtype != kind or list(value.shape) != wanted or value.ndim != len(axes.split()):
            return f"{name} is {value.dtype} {value.shape}, expected {np.dtype(kind)} ({axes})"
        most = sizes["M"] + 1 if name == "parts" else sizes["V"]
        if kind is np.int32 and value.size and not 0 <= value.min() <= value.max() < most:
            return f"{name} names vertices or triangles that are not there"
        if value.size == 0:
            return f"{name} is empty"
    return ""
