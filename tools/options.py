"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import tyro

from ..models.errors import InputError, OutputError, how_to_install
from ..stream.detector_names import DetectorName

if TYPE_CHECKING:
    from ..models.face.bundle import Bundle
    from ..models.face.camera import Camera

BundleOption: TypeAlias = Annotated[Path | None, tyro.conf.arg(metavar="DIR")]
SmoothingOption: TypeAlias = Annotated[str, tyro.conf.arg(metavar="raw|responsive|steady|FILE")]
CameraOption: TypeAlias = Annotated[str, tyro.conf.arg(metavar="FILE|FOV")]
DetectorOption: TypeAlias = Annotated[
    DetectorName,
    tyro.conf.arg(
        help="what finds faces: own (the bundle's, or the shipped one where it has none; trained "
        "on rendered scenes only) or centerface (needs the extra centerface)."
    ),
]
Lines: TypeAlias = Literal["all", "even", "odd"]
"""Lines of an evaluation set, counted from 0."""
_HEAVY = ("torch", "safetensors", "skimage", "trimesh", "scipy")
_CAMERA = (
    "a field of view of 1 to 175 degrees, or a camera file (TOML, JSON, or OpenCV's YAML or XML)"
)


@contextmanager
def of_option(option: str) -> Iterator[None]:
    """Whatever is refused inside is said of an option.

    Raises:
        InputError: as inside, beginning with the option's name; so for OutputError.
    """
    try:
        yield
    except (InputError, OutputError) as error:
        raise type(error)(f"{option} {error}") from error


def load_bundle(folder: Path | None) -> Bundle:
    """The bundle in the folder that ``--bundle`` names, or the one that mien ships.

    Raises:
        BundleError: it is damaged or incomplete.
    """
    from ..models.face.bundle import Bundle

    if folder is None:
        return Bundle.default()
    with of_option("--bundle"):
        return Bundle.load(folder)


def read_camera(text: str) -> Camera | float:
    """What ``--camera`` says: the camera of a file, or a field of view in degrees.

    A number is the field of view across the longer side; anything else names a file.

    Raises:
        InputError: neither, or an impossible camera.
    """
    from ..models.face.camera import Camera

    try:
        fov_deg = float(text)
    except ValueError:
        return _camera_of(text)
    try:
        Camera.from_fov(640, 480, fov_deg)  # refuses what no camera has
    except InputError as error:
        raise InputError(f"--camera is {text}, expected {_CAMERA}") from error
    return fov_deg


def _camera_of(text: str) -> Camera:
    from ..models.face.camera import Camera

    if not os.path.exists(text):
        raise InputError(f"--camera {text}: no such file, and no number; expected {_CAMERA}")
    if os.path.isdir(text):
        raise InputError(f"--camera {text}: is a folder; expected {_CAMERA}")
    with of_option("--camera"):
        return Camera.load(Path(text))


def camera_for(said: Camera | float, width: int, height: int) -> Camera:
    """The camera that :func:`read_camera` gave, for pictures of this size in pixels."""
    from ..models.face.camera import Camera

    if isinstance(said, Camera):
        with of_option("--camera:"):
            return said.resized(width, height)
    return Camera.from_fov(width, height, said)


def choices(text: str, allowed: Sequence[str], option: str) -> tuple[str, ...]:
    """The words of a comma-separated option, in the order of ``allowed``.

    Raises:
        InputError: a word is not among those allowed, or there is none.
    """
    words = {word.strip() for word in text.split(",") if word.strip()}
    unknown = sorted(words - set(allowed))
    if unknown or not words:
        raise InputError(
            f"{option}: {', '.join(unknown) or 'nothing'} given, expected some of "
            f"{', '.join(allowed)}, separated by commas"
        )
    return tuple(word for word in allowed if word in words)


def shipped_face_model() -> Path:
    """``face_model.npz`` of the bundle that mien ships."""
    from importlib import resources

    return Path(str(resources.files("mien.models.weights.default").joinpath("face_model.npz")))


def need_torch(command: str) -> None:
    """Say how to install torch where it is missing.

    Raises:
        InputError: torch is not installed.
    """
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise InputError(f"{command}: needs torch; {how_to_install('train')} brings it")


def need_heavy(command: str) -> None:
    """Say how to install what the heavy systems need, where some of it is missing.

    Raises:
        InputError: a package is not installed.
    """
    from importlib.util import find_spec

    for name in _HEAVY:
        if find_spec(name) is None:
            raise InputError(f"{command} needs {name}: {how_to_install('heavy')}")
