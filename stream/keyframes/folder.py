"""The folder format of key frames: what ``mien keyframes`` writes and the heavy tools read.

::

    keyframes.json           everything that is known, see FolderFacts
    frames/000123.png        the whole picture of frame 123, 8-bit BGR
    crops/000123.png         its aligned crop, see stream/keyframes/alignment.py
    fits/000123.json         the row of the annotation
    fits/000123.npz          the fit as arrays, see Fit
    fits/000123.obj          the mesh, in the head frame, mm (where the bundle is at hand)
    sheet.png                a contact sheet, for people
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
from jaxtyping import Float32, Float64, Int32, UInt8

from ...models.archives import fitted, read_npz
from ...models.documents import one_line
from ...models.errors import InputError
from ...models.picture_file import read_bgr
from ..observation import FaceObservation
from ..schema import DAMAGE, from_plain, rounded

FORMAT: Final = "mien-keyframes"
VERSION: Final = 1
"""Raised when a reader of old folders would misread new ones; added fields do not count."""
FACTS: Final = "keyframes.json"
SHEET: Final = "sheet.png"

_LEAST_AREA: Final = 1e-9
"""Of a crop's pixel in the picture, or the other way around, square px."""


class CropFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The aligned crop of a key frame.

    Attributes:
        side: of the PNG, px.
        image_from_crop: 2x3, px to px: ``[x, y] = image_from_crop @ [u, v, 1]``; pixel centres are
            at integers in both. A rotation with a scale and a shift: the square is turned with the
            face.
        inside: share of the square that lies in the picture; the rest is black.
    """

    side: int
    image_from_crop: tuple[tuple[float, float, float], tuple[float, float, float]]
    inside: float

    def __post_init__(self) -> None:
        (a, b, _), (c, d, _) = self.image_from_crop
        if not _LEAST_AREA < abs(a * d - b * c) < 1 / _LEAST_AREA:
            raise ValueError("image_from_crop is no map of a square")

    @property
    def matrix(self) -> Float64[np.ndarray, "2 3"]:
        """:attr:`image_from_crop` as an array."""
        return np.array(self.image_from_crop, dtype=np.float64)

    @property
    def crop_from_image(self) -> Float64[np.ndarray, "3 3"]:
        """The map from pixels of the picture to pixels of the crop, 3x3.

        ``crop_from_image @ camera_matrix`` projects into the crop.
        """
        return np.linalg.inv(np.vstack([self.matrix, [0.0, 0.0, 1.0]]))


class Keyframe(msgspec.Struct, frozen=True, kw_only=True):
    """One chosen frame.

    Attributes:
        frame: its index in the source.
        t_media_ns: its time; None for pictures.
        track: of the face.
        score: by which it was chosen, 0 to 1.
        parts: of the score, 0 to 1 (``variety``: distance to the frames chosen before it).
        blur_px: blur of the face, as the deviation of a Gaussian, px of a crop of 160.
        crop: the aligned crop.
        mesh: whether there is an OBJ, and vertices in the NPZ.
        row: the whole row of the annotation.
    """

    frame: int
    t_media_ns: int | None
    track: int
    score: float
    parts: dict[str, float]
    blur_px: float
    crop: CropFacts
    mesh: bool
    row: FaceObservation

    @property
    def stem(self) -> str:
        """Of its files."""
        return f"{self.frame:06d}"


class FolderFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What ``keyframes.json`` says; the key frames stand in the order in which they were chosen.

    Attributes:
        format: ``mien-keyframes``.
        version: of the format.
        source: file name of the video or picture.
        rows: file name of the annotation.
        width: of a frame, px.
        height: of a frame, px.
        rate: nominal frames per second; None where unknown.
        camera_matrix: 3x3, px; the poses hold for this camera.
        bundle_hash: of the bundle that the coefficients belong to.
        options: of the annotation.
        request: of ``mien keyframes``: what for, how many, and what else the choice depends on.
        candidates: frames that could have been chosen.
        keyframes: those that were.
    """

    format: Literal["mien-keyframes"]
    version: int
    source: str
    rows: str
    width: int
    height: int
    rate: float | None
    camera_matrix: tuple[
        tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]
    ]
    bundle_hash: str
    options: dict[str, Any]
    request: dict[str, Any]
    candidates: int
    keyframes: tuple[Keyframe, ...]


@dataclass(frozen=True)
class Fit:
    """The face of a key frame, as arrays.

    Attributes:
        camera_from_head: 4x4, mm.
        camera_matrix: 3x3, px.
        shape: 40, standard deviations.
        expression: 10, standard deviations.
        blendshapes: 52, ARKit's order, 0 to 1; None where the bundle has none.
        landmarks_px: 68 points in the picture.
        pose_variance: 6, rad^2 and mm^2; None where unknown.
        vertices_mm: the mesh in the head frame; None where the bundle was not at hand.
        triangles: of the mesh; None as well.
        uv: of its vertices; None as well, or where the face model has none.
    """

    camera_from_head: Float64[np.ndarray, "4 4"]
    camera_matrix: Float64[np.ndarray, "3 3"]
    shape: Float32[np.ndarray, " 40"]
    expression: Float32[np.ndarray, " 10"]
    blendshapes: Float32[np.ndarray, " 52"] | None
    landmarks_px: Float32[np.ndarray, "68 2"]
    pose_variance: Float32[np.ndarray, " 6"] | None
    vertices_mm: Float32[np.ndarray, "N 3"] | None
    triangles: Int32[np.ndarray, "M 3"] | None
    uv: Float32[np.ndarray, "N 2"] | None


OPTIONAL_ARRAYS: Final = ("blendshapes", "pose_variance", "vertices_mm", "triangles", "uv")
"""What an NPZ may lack."""


@dataclass(frozen=True)
class KeyframeFolder:
    """A folder of key frames, read.

    Attributes:
        path: of the folder.
        facts: what its ``keyframes.json`` says.
    """

    path: Path
    facts: FolderFacts

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> KeyframeFolder:
        """Read ``keyframes.json`` and see that the files are there; pictures are read when asked.

        Args:
            path: of the folder, or of its ``keyframes.json``.

        Raises:
            InputError: it is no such folder, of another version, or a file is missing.
        """
        folder = Path(path)
        if folder.name == FACTS:
            folder = folder.parent
        facts = read_facts(folder)
        result = cls(folder, facts)
        for keyframe in facts.keyframes:
            for place in result.files(keyframe):
                if not place.is_file():
                    raise InputError(f"{folder}: lacks {place.relative_to(folder)}")
        return result

    @property
    def keyframes(self) -> tuple[Keyframe, ...]:
        """The key frames, the best (or the neutral one) first."""
        return self.facts.keyframes

    @property
    def camera_matrix(self) -> Float64[np.ndarray, "3 3"]:
        """The camera of the whole frames, px."""
        return np.array(self.facts.camera_matrix, dtype=np.float64)

    def check_bundle(self, bundle_hash: str) -> None:
        """See that coefficients of the rows mean what they mean to a bundle.

        Raises:
            InputError: the rows were made with another one, or do not say with which.
        """
        if not self.facts.bundle_hash:
            raise InputError(
                f"{self.path}: does not say with which bundle its rows were made; expected rows of "
                "mien annotate"
            )
        if self.facts.bundle_hash != bundle_hash:
            raise InputError(
                f"{self.path}: made with bundle {self.facts.bundle_hash[:12]}, not "
                f"{bundle_hash[:12]}: name that one with --bundle"
            )

    def files(self, keyframe: Keyframe) -> list[Path]:
        """Every file of a key frame."""
        names = [f"frames/{keyframe.stem}.png", f"crops/{keyframe.stem}.png"]
        endings = (".json", ".npz", ".obj") if keyframe.mesh else (".json", ".npz")
        names += [f"fits/{keyframe.stem}{ending}" for ending in endings]
        return [self.path / name for name in names]

    def image_bgr(self, keyframe: Keyframe) -> UInt8[np.ndarray, "H W 3"]:
        """The whole picture.

        Raises:
            InputError: it cannot be read, or has another size than the folder says.
        """
        size = self.facts.height, self.facts.width
        return _read_png(self.path / "frames" / f"{keyframe.stem}.png", size)

    def crop_bgr(self, keyframe: Keyframe) -> UInt8[np.ndarray, "S S 3"]:
        """The aligned crop.

        Raises:
            InputError: it cannot be read, or has another size than the folder says.
        """
        size = keyframe.crop.side, keyframe.crop.side
        return _read_png(self.path / "crops" / f"{keyframe.stem}.png", size)

    def fit(self, keyframe: Keyframe) -> Fit:
        """The face as arrays.

        Raises:
            InputError: the file cannot be read.
        """
        place = self.path / "fits" / f"{keyframe.stem}.npz"
        try:
            needed = [field.name for field in fields(Fit) if field.name not in OPTIONAL_ARRAYS]
            read: dict[str, Any] = dict(read_npz(place, needed, OPTIONAL_ARRAYS))
            absent: dict[str, Any] = dict.fromkeys(OPTIONAL_ARRAYS)
            return Fit(**(absent | _checked(read)))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{place}: not the fit of a key frame: {one_line(error)}") from error


def read_facts(folder: Path) -> FolderFacts:
    """Read ``keyframes.json`` of a folder.

    Raises:
        InputError: it is not there, not such a file, or of another version.
    """
    place = folder / FACTS
    try:
        content = place.read_bytes()
    except OSError as error:
        raise InputError(f"{folder}: no folder of key frames: {FACTS}: {error.strerror}") from error
    try:
        head = msgspec.json.decode(content, type=_Head)
        if head.version != VERSION:
            raise InputError(f"{place}: is of version {head.version}, expected {VERSION}")
        facts = msgspec.json.decode(content, type=FolderFacts, dec_hook=from_plain)
    except DAMAGE as error:
        raise InputError(f"{place}: not a list of key frames: {one_line(error)}") from error
    keyframes = tuple(
        msgspec.structs.replace(keyframe, row=rounded(keyframe.row)) for keyframe in facts.keyframes
    )
    return msgspec.structs.replace(facts, keyframes=keyframes)


_ARRAYS: Final = {
    "camera_from_head": (np.float64, "4 4"), "camera_matrix": (np.float64, "3 3"),
    "shape": (np.float32, "40"), "expression": (np.float32, "10"),
    "blendshapes": (np.float32, "52"), "landmarks_px": (np.float32, "68 2"),
    "pose_variance": (np.float32, "6"), "vertices_mm": (np.float32, "N 3"),
    "triangles": (np.int32, "_ 3"), "uv": (np.float32, "N 2"),
}  # fmt: skip


def _checked(arrays: dict[str, Any]) -> dict[str, Any]:
    """The arrays of a fit, in the types that it says.

    Raises:
        ValueError: one has another shape, or triangles name vertices that are not there.
    """
    checked = fitted(arrays, _ARRAYS)
    used = checked.get("triangles")
    count = len(checked.get("vertices_mm", ()))
    if used is not None and used.size and not 0 <= used.min() <= used.max() < count:
        raise ValueError(f"triangles point outside the {count} vertices")
    return checked


class _Head(msgspec.Struct):
    format: Literal["mien-keyframes"]
    version: int


def _read_png(place: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "H W 3"]:
    image = read_bgr(place)
    if image.shape[:2] != size:
        found = "{1}x{0}".format(*image.shape[:2])
        raise InputError(f"{place}: is {found} px, expected {size[1]}x{size[0]}")
    return image
