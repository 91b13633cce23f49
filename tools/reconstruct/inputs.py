"""What ``mien reconstruct`` works on: key frames, or bare pictures whose faces it fits itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64, UInt8

from ...models.digest import file_sha256
from ...models.errors import InputError
from ..still_faces import faces_of, read_picture

if TYPE_CHECKING:
    from ...models.face.bundle import Bundle
    from ...models.pifuhd.reconstruct import Face
    from ...stream.keyframes.folder import Keyframe, KeyframeFolder


@dataclass(frozen=True)
class Picture:
    """A picture, read, with the face to be reconstructed.

    Attributes:
        image_bgr: the whole picture.
        camera_matrix: 3x3, px.
        face: None: there is none.
        assumed_camera: whether the camera is a guess.
        remarks: what is to be said of the choice of the face.
    """

    image_bgr: UInt8[np.ndarray, "H W 3"]
    camera_matrix: Float64[np.ndarray, "3 3"]
    face: Face | None
    assumed_camera: bool
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One picture to reconstruct from.

    Attributes:
        name: of its outputs.
        stem: by which its mask is looked for.
        source: where it is from, for messages and facts.
        file: the picture.
        read: reads it.
        fitted: what its face depends on beside the picture, as plain values: of a key frame the
            fit, of a bare picture the bundle that fits it.
    """

    name: str
    stem: str
    source: str
    file: Path
    read: Callable[[], Picture]
    fitted: dict[str, Any] = field(default_factory=dict)

    def given(self, mask: Path | None) -> dict[str, Any]:
        """What the result depends on beside the options: the files themselves.

        Args:
            mask: the file of its mask; None: there is none.
        """
        return {
            "input_sha256": digest(self.file),
            "mask_sha256": None if mask is None else digest(mask),
            **self.fitted,
        }


@dataclass(frozen=True)
class FaceChoice:
    """How the face of a bare picture is found.

    Attributes:
        number: 1 for the face of which most is seen; None: the same, and say so where there are
            several.
        camera: as ``--camera`` says it; None: assumed.
        bundle: folder of the bundle; None: the one that mien ships.
        required: whether a picture without a face is refused.
    """

    number: int | None = None
    camera: str | None = None
    bundle: Path | None = None
    required: bool = True

    @cached_property
    def fitter(self) -> Bundle:
        """The bundle, read on first use.

        Raises:
            BundleError: it is damaged or incomplete.
        """
        from ..options import load_bundle

        return load_bundle(self.bundle)


def collect_jobs(
    places: Sequence[Path], only: frozenset[int] | None, choice: FaceChoice
) -> list[Job]:
    """The pictures of folders of key frames, and those that are named themselves.

    Args:
        places: folders of key frames, and picture files.
        only: frames to take of the folders; None: all.
        choice: for pictures.

    Raises:
        InputError: a place is neither, two have one name, or a frame is not among the key frames;
            or the bundle that fits pictures cannot be read.
    """
    jobs: list[Job] = []
    frames: set[int] = set()
    folders = False
    for place in places:
        if place.is_dir() or place.name == "keyframes.json":
            from ...stream.keyframes import KeyframeFolder

            folders = True
            folder = KeyframeFolder.load(place)
            frames |= {keyframe.frame for keyframe in folder.keyframes}
            jobs += list(_of_folder(folder, only, choice))
        elif place.is_file():
            jobs.append(_of_picture(place, choice))
        else:
            raise InputError(f"{place}: no such folder of key frames, and no such picture")
    if only is not None and (missing := sorted(only - frames)):
        if not folders:
            raise InputError("--only chooses among key frames, and there are none")
        raise InputError(
            f"--only {missing[0]}: not a key frame; there are {', '.join(map(str, sorted(frames)))}"
        )
    names = [job.name for job in jobs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{twice[0]}: two inputs have this name; give them another --out each")
    return jobs


def _of_folder(
    folder: KeyframeFolder, only: frozenset[int] | None, choice: FaceChoice
) -> Iterator[Job]:
    stem = folder.path.resolve().name.removesuffix(".keyframes")
    for keyframe in folder.keyframes:
        if only is None or keyframe.frame in only:
            yield Job(
                name=f"{stem}-{keyframe.stem}",
                stem=keyframe.stem,
                source=f"{folder.facts.source}, frame {keyframe.frame}",
                file=folder.path / "frames" / f"{keyframe.stem}.png",
                read=_reader(folder, keyframe, choice),
                fitted={
                    "fit_sha256": digest(folder.path / "fits" / f"{keyframe.stem}.npz"),
                    "assumed_camera": _assumed(folder),
                },
            )


def _assumed(folder: KeyframeFolder) -> bool:
    """Whether the annotation's camera is a guess."""
    from ...models.face.camera import DEFAULT_FOV_DEG

    return folder.facts.options.get("camera") in (DEFAULT_FOV_DEG, str(DEFAULT_FOV_DEG))


def _reader(
    folder: KeyframeFolder, keyframe: Keyframe, choice: FaceChoice
) -> Callable[[], Picture]:
    def read() -> Picture:
        from ...models.pifuhd.reconstruct import Face

        fit = folder.fit(keyframe)
        pose, points, matrix = fit.camera_from_head, fit.landmarks_px, fit.camera_matrix
        if choice.camera is not None:
            raise InputError(
                "--camera is for pictures; key frames have the camera of their annotation"
            )
        face = Face(pose, points, matrix)
        return Picture(folder.image_bgr(keyframe), matrix, face, _assumed(folder))

    return read


def _of_picture(place: Path, choice: FaceChoice) -> Job:
    def read() -> Picture:
        return _fitted(place, choice)

    return Job(
        name=place.stem,
        stem=place.stem,
        source=place.name,
        file=place,
        read=read,
        fitted={"bundle_hash": choice.fitter.hash},
    )


def _fitted(place: Path, choice: FaceChoice) -> Picture:
    from ...models.pifuhd.reconstruct import Face
    from ...stream.published_pose import camera_from_head_of

    image = read_picture(place)
    camera, rows = faces_of(image, choice.camera, choice.fitter)
    assumed = choice.camera is None
    if not rows:
        if choice.required:
            raise InputError(f"{place}: no face found")
        return Picture(image, camera.matrix, None, assumed)
    number = choice.number or 1
    if number > len(rows):
        raise InputError(f"{place}: --face {number}, but only {_faces(len(rows))} found")
    row = rows[number - 1]
    remarks = []
    if len(rows) > 1 and choice.number is None:
        remarks.append(
            f"{_faces(len(rows))}; took the one of which most is seen, at x "
            f"{row.box_x + row.box_w / 2:.0f}, y {row.box_y + row.box_h / 2:.0f}; --face 2 takes "
            "the next"
        )
    face = Face(camera_from_head_of(row), row.landmarks_px.astype(np.float64), camera.matrix)
    return Picture(image, camera.matrix, face, assumed, tuple(remarks))


def digest(place: Path) -> str | None:
    """SHA-256 of a file; None where it cannot be read, which its reader says better."""
    try:
        return file_sha256(place)
    except OSError:
        return None


def mask_file(place: Path, names: Sequence[str]) -> Path | None:
    """The file of a picture's mask; None where a folder has none for it.

    Args:
        place: file or folder.
        names: that the mask may have in a folder, the first that is there counts.
    """
    if not place.is_dir():
        return place
    found = (place / f"{name}.png" for name in names)
    return next((path for path in found if path.is_file()), None)


def read_mask(place: Path, names: Sequence[str]) -> UInt8[np.ndarray, "H W"] | None:
    """The mask of a picture: the file itself, or a PNG of one of its names in a folder.

    A picture with an alpha channel is its alpha. None where a folder has none for it.

    Args:
        place: file or folder.
        names: that the mask may have in a folder, the first that is there counts.

    Raises:
        InputError: it cannot be read, or has neither 8 nor 16 bits.
    """
    from ...models.picture_file import read_as_it_is

    path = mask_file(place, names)
    if path is None:
        return None
    image = read_as_it_is(path)
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.dtype != np.uint8:
        raise InputError(f"{path}: a mask of {image.dtype}, expected 8 or 16 bits")
    if image.ndim == 3:
        image = image[..., 3] if image.shape[2] == 4 else image.max(axis=2)
    return np.ascontiguousarray(image, np.uint8)


def _faces(count: int) -> str:
    return "1 face" if count == 1 else f"{count} faces"
