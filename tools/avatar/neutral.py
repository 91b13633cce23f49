"""The neutral face of ``mien avatar``: a scan or a key frame, aligned and fused into the box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from ...models.errors import InputError
from ...models.face.camera import Camera
from ...models.face.morphable import FaceModel
from ...models.scans.alignment import Alignment, FittedHead, align_scan, landmark_points
from ...models.scans.box import FaceBox
from ...models.scans.fitted_face import textured_face
from ...models.scans.frame import DepthFrame, Intrinsics
from ...models.scans.fusion import FusedScan, fuse, voxelise
from ...models.scans.mesh_views import mesh_views
from ...models.scans.readers import Scan, read_scan
from ...models.scans.registration import register_frames
from ...stream.keyframes import KeyframeFolder
from ...stream.keyframes.folder import FACTS
from ...stream.observation import FaceObservation

if TYPE_CHECKING:
    from ...models.face.bundle import Bundle
    from ...models.mesh.triangle_mesh import TriangleMesh
    from ...stream import FaceTracker

_TRIED = 7
"""Frames of a recording in which the face is looked for."""
_MERGED_POINTS = 60_000
_HEAD_MM = 180.0
_SURE = 0.95
_LEAST_CONFIDENCE = 0.6


@dataclass(frozen=True)
class Neutral:
    """A neutral face in the box.

    Attributes:
        scan: fused.
        size: of this head over the mean one's: the avatar is made that much larger again.
        facts: how it was found, for the record.
    """

    scan: FusedScan
    size: float
    facts: dict[str, Any]


def read_neutral(
    place: Path,
    bundle: Bundle,
    box: FaceBox,
    *,
    picture: Path | None = None,
    intrinsics: Path | None = None,
    unit: str | None = None,
    keyframe: int | None = None,
) -> Neutral:
    """Read, align and fuse.

    Args:
        place: a scan or a folder with one (of one depth map, or of several with their poses), or a
            folder of ``mien keyframes``.
        bundle: of the face fit.
        box: of the grid.
        picture, intrinsics, unit: of a scan, see :func:`..models.scans.readers.read_scan`.
        keyframe: frame of the folder; None: the first, which is the neutral one.

    Raises:
        InputError: it cannot be read, or shows no face.
    """
    if place.name == FACTS or (place / FACTS).is_file():
        return _from_keyframes(KeyframeFolder.load(place), bundle, box, keyframe)
    scan = read_scan(place, picture=picture, intrinsics=intrinsics, unit=unit)
    if scan.frames:
        return _from_frames(scan, bundle, box)
    if scan.frame is not None:
        return _from_frame(scan, scan.frame, bundle, box)
    assert scan.mesh is not None
    return _from_mesh(scan, scan.mesh, bundle, box)


def _from_keyframes(
    folder: KeyframeFolder, bundle: Bundle, box: FaceBox, frame: int | None
) -> Neutral:
    chosen = [k for k in folder.keyframes if frame is None or k.frame == frame]
    if not chosen:
        known = ", ".join(str(k.frame) for k in folder.keyframes) or "none"
        raise InputError(f"{folder.path}: no key frame {frame}; it has {known}")
    keyframe = chosen[0]
    fit = folder.fit(keyframe)
    folder.check_bundle(bundle.hash)
    model = bundle.face_model
    mesh = textured_face(
        model.decode(fit.shape),
        model.decode_seen(fit.shape, fit.expression, fit.blendshapes),
        model.triangles,
        folder.image_bgr(keyframe),
        fit.camera_matrix,
        fit.camera_from_head,
    )
    facts = {"kind": "keyframe", "frame": keyframe.frame, "source": folder.facts.source}
    return Neutral(voxelise(mesh, box), 1.0, facts)


def _from_frame(scan: Scan, frame: DepthFrame, bundle: Bundle, box: FaceBox) -> Neutral:
    assert frame.image is not None
    found = _upright_fit(frame, bundle)
    if found is None:
        raise InputError(f"{scan.path}: no face in its picture, in none of four orientations")
    row, landmarks = found
    alignment = align_scan(
        landmark_points(frame, landmarks),
        frame.points()[np.isfinite(frame.depth)],
        fitted_head(bundle.face_model, row),
    )
    return Neutral(
        fuse([placed(frame, alignment)], box),
        1 / alignment.head_from_scan.scale,
        {"kind": "depth", **_facts(alignment)},
    )


def _from_frames(scan: Scan, bundle: Bundle, box: FaceBox) -> Neutral:
    """Several depth maps: the face is found in the most frontal one, and all are laid onto it."""
    pictured = [i for i, frame in enumerate(scan.frames) if frame.image is not None]
    tried = {pictured[round(i)] for i in np.linspace(0, len(pictured) - 1, _TRIED)}
    fits = {i: fit for i in sorted(tried) if (fit := _upright_fit(scan.frames[i], bundle))}
    if not fits:
        raise InputError(f"{scan.path}: no face in {len(tried)} of its pictures, looked at any way")
    first = min(fits, key=lambda i: np.hypot(fits[i][0].yaw, fits[i][0].pitch))
    row, landmarks = fits[first]
    marks = landmark_points(scan.frames[first], landmarks)
    pose = scan.frames[first].head_from_camera
    centre = np.nanmedian(marks, axis=0) @ pose[:3, :3].T + pose[:3, 3]
    together = register_frames(scan.frames, first, centre)
    # From here on in the frame of the camera in which the face was found.
    first_from_world = np.linalg.inv(pose)
    frames = [
        replace(frame, head_from_camera=first_from_world @ frame.head_from_camera)
        for frame in together.frames
    ]
    alignment = align_scan(
        marks, _merged(frames, np.nanmedian(marks, axis=0)), fitted_head(bundle.face_model, row)
    )
    facts = {
        "kind": "depth frames",
        "frames": len(frames),
        "left_out": len(scan.frames) - len(frames),
        "apart_mm": together.after_mm,
    }
    return Neutral(
        fuse([placed(frame, alignment) for frame in frames], box),
        1 / alignment.head_from_scan.scale,
        {**facts, **_facts(alignment)},
    )


def _merged(
    frames: Sequence[DepthFrame], centre: Float64[np.ndarray, " 3"]
) -> Float32[np.ndarray, "P 3"]:
    """Points of frames near a place of the frame that they share, mm; not more than are needed."""
    found = []
    for frame in frames:
        pose = frame.head_from_camera
        points = frame.points()[np.isfinite(frame.depth)] @ pose[:3, :3].T + pose[:3, 3]
        found.append(points[np.linalg.norm(points - centre, axis=1) < _HEAD_MM])
    together = np.concatenate(found).astype(np.float32)
    return together[:: len(together) // _MERGED_POINTS + 1]


def _from_mesh(scan: Scan, mesh: TriangleMesh, bundle: Bundle, box: FaceBox) -> Neutral:
    best: tuple[FaceObservation, DepthFrame] | None = None
    tracker: FaceTracker | None = None
    for frame in mesh_views(mesh):
        assert frame.image is not None
        tracker = tracker or _tracker(frame.camera, bundle)  # all views are of one camera
        row = _fit(frame.image, tracker)
        if row is None or not _upright(row):
            continue
        if best is None or (row.confidence or 0) > (best[0].confidence or 0):
            best = row, frame
        if (row.confidence or 0) > _SURE and abs(row.roll) < 30:
            break
    if best is None or (best[0].confidence or 0) < _LEAST_CONFIDENCE:
        raise InputError(f"{scan.path}: no face found on the mesh, seen from any side")
    row, frame = best
    camera_from_mesh = np.linalg.inv(frame.head_from_camera)
    marks = landmark_points(frame, row.landmarks_px)
    in_camera = mesh.transformed(camera_from_mesh)
    alignment = align_scan(marks, in_camera.vertices, fitted_head(bundle.face_model, row))
    head = in_camera.transformed(alignment.matrix)
    return Neutral(
        voxelise(head, box),
        1 / alignment.head_from_scan.scale,
        {"kind": "mesh", "colours": mesh.colours is not None, **_facts(alignment)},
    )


def placed(frame: DepthFrame, alignment: Alignment) -> DepthFrame:
    """A frame in the head frame, at the mean head's size.

    Args:
        frame: its pose is that in the scan's frame.
        alignment: of the scan.
    """
    scale = np.float32(alignment.head_from_scan.scale)
    within = frame.head_from_camera.copy()
    within[:3, 3] *= scale
    pose = np.eye(4)
    pose[:3, :3] = alignment.head_from_scan.rotation
    pose[:3, 3] = alignment.head_from_scan.translation
    return replace(frame, depth=frame.depth * scale, head_from_camera=pose @ within)


def fitted_head(model: FaceModel, row: FaceObservation) -> FittedHead:
    """What a face fit says to the alignment."""
    no_shape = np.zeros_like(row.shape)
    return FittedHead(
        model.decode_seen(no_shape, row.expression, row.blendshapes),
        model.shape_basis,
        model.triangles,
        model.landmark_vertices,
        row.shape,
    )


def _facts(alignment: Alignment) -> dict[str, Any]:
    return {
        "scale": alignment.head_from_scan.scale,
        "landmark_mm": alignment.landmark_mm,
        "surface_mm": alignment.surface_mm,
        "matched": alignment.matched,
    }


def _tracker(lens: Intrinsics, bundle: Bundle) -> FaceTracker:
    """What fits the faces of a camera's pictures."""
    from ...stream import FaceTracker

    camera = Camera(lens.fx, lens.fy, lens.cx, lens.cy, lens.width, lens.height)
    return FaceTracker(bundle, camera, "raw")


def _fit(image: UInt8[np.ndarray, "H W 3"], tracker: FaceTracker) -> FaceObservation | None:
    """The most prominent face of a picture."""
    rows = tracker.fit(image)
    return rows[0] if rows else None


def _upright_fit(frame: DepthFrame, bundle: Bundle) -> tuple[FaceObservation, np.ndarray] | None:
    """The face of a frame's picture, which may lie on its side, and its landmarks there."""
    assert frame.image is not None
    height, width = frame.image.shape[:2]
    best: tuple[FaceObservation, int] | None = None
    for turns in (0, 1, 3, 2):
        image = np.ascontiguousarray(np.rot90(frame.image, turns))
        lens = _turned(frame.camera.resized(width, height), turns)
        row = _fit(image, _tracker(lens, bundle))
        if row is None or not _upright(row):
            continue
        if best is None or (row.confidence or 0) > (best[0].confidence or 0):
            best = row, turns
        if (row.confidence or 0) > _SURE:
            break
    if best is None or (best[0].confidence or 0) < _LEAST_CONFIDENCE:
        return None
    x, y = best[0].landmarks_px.T
    # np.rot90 turns against the clock: undone here for points.
    back = {
        0: (x, y),
        1: (width - 1 - y, x),
        2: (width - 1 - x, height - 1 - y),
        3: (y, height - 1 - x),
    }[best[1]]
    return best[0], np.stack(back, axis=1).astype(np.float32)


def _upright(row: FaceObservation) -> bool:
    """Whether a face is as it should be in a picture that is the right way up."""
    return abs(row.roll) < 45 and abs(row.yaw) < 60


def _turned(lens: Intrinsics, turns: int) -> Intrinsics:
    """The camera of a picture that np.rot90 has turned."""
    for _ in range(turns):
        lens = Intrinsics(
            lens.fy, lens.fx, lens.cy, lens.width - 1 - lens.cx, lens.height, lens.width
        )
    return lens
