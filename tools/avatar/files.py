"""What ``mien avatar`` writes: meshes, an animated GLB, a film beside the driving video."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Float64, UInt8

from ...models.errors import OutputError

if TYPE_CHECKING:
    from ...models.mesh.triangle_mesh import TriangleMesh

MESH_FORMATS: Final = ("glb", "ply", "obj")
FACTS: Final = "avatar.json"
FILM: Final = "avatar.mp4"
GLB: Final = "avatar.glb"
_AXES: Final = np.array([1, -1, -1], np.float32)
"""mien's x right, y down, z away against glTF's x right, y up, z towards the viewer."""


def check_out(out: Path, overwrite: bool) -> None:
    """See that the folder can be made, or replaced.

    Raises:
        OutputError: something else lies there, or an avatar that is not to be replaced.
    """
    if out.is_file():
        raise OutputError(f"{out}: is a file, expected a place for a folder")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not (out / FACTS).is_file():
        raise OutputError(f"{out}: holds other files; give another --out")
    if not overwrite:
        raise OutputError(f"{out}: holds an avatar; --overwrite replaces it")


class AnimatedGlb:
    """A sequence of meshes as one binary glTF: of all nodes, one is shown at a time.

    Each frame has a topology of its own (a mouth opens), which morph targets cannot have; so each
    is a node, and the animation steps the scales of the nodes between 0 and 1. Numbers wait on
    disk.

    Args:
        spool: a folder for what waits; removed by whoever made it.
        times_s: of the frames, ascending; the last is shown as long as the one before.
    """

    def __init__(self, spool: Path, times_s: Float64[np.ndarray, " F"]) -> None:
        from ...stream.export.glb import GlbBuilder

        self._spool = spool
        self._times = np.asarray(times_s, np.float32)
        self._glb = GlbBuilder({"generator": "mien"})
        self._nodes: list[dict[str, Any]] = []
        self._meshes: list[dict[str, Any]] = []

    def add(self, mesh: TriangleMesh) -> None:
        """The next frame: head frame, mm."""
        from ...models.render.texture import linear_from_srgb
        from ...stream.export.glb import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, UNSIGNED_INT

        number = len(self._meshes)
        normals = mesh.vertex_normals()
        normals[np.linalg.norm(normals, axis=1) < 0.5] = (0, 0, -1)
        arrays = {"POSITION": mesh.vertices * _AXES / 1000, "NORMAL": normals * _AXES}
        if mesh.colours is not None:
            arrays["COLOR_0"] = linear_from_srgb(mesh.colours)
        attributes = {}
        for name, array in arrays.items():
            values = np.asarray(array, np.float32)
            bounds = None
            if name == "POSITION":
                bounds = values.min(axis=0).tolist(), values.max(axis=0).tolist()
            attributes[name] = self._glb.add(
                "VEC3", len(values), self._waiting(f"{number}.{name}", values),
                target=ARRAY_BUFFER, bounds=bounds,
            )  # fmt: skip
        triangles = mesh.triangles.reshape(-1).astype(np.uint32)
        index = self._glb.add(
            "SCALAR", len(triangles), self._waiting(f"{number}.index", triangles),
            component=UNSIGNED_INT, target=ELEMENT_ARRAY_BUFFER,
        )  # fmt: skip
        primitive = {"attributes": attributes, "indices": index, "material": 0}
        self._meshes.append({"primitives": [primitive]})
        node: dict[str, Any] = {"name": f"frame {number}", "mesh": number}
        if number:
            node["scale"] = [0.0, 0.0, 0.0]
        self._nodes.append(node)

    def write(self, stream: IO[bytes]) -> None:
        """Write the file.

        Raises:
            OSError: it cannot be written.
        """
        document = self._glb.document
        count = len(self._nodes)
        root = {"name": "avatar", "children": list(range(count))}
        document |= {
            "scene": 0,
            "scenes": [{"nodes": [count]}],
            "nodes": [*self._nodes, root],
            "meshes": self._meshes,
            "materials": [
                {
                    "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.9},
                    "doubleSided": True,
                }
            ],
        }
        if count > 1:
            document["animations"] = [self._animation()]
        self._glb.write(stream)

    def _animation(self) -> dict[str, Any]:
        channels, samplers = [], []
        count = len(self._nodes)
        times = self._times[:count].astype(np.float64) - float(self._times[0])
        last = float(2 * times[-1] - times[-2])
        for node in range(count):
            end = float(times[node + 1]) if node + 1 < count else last
            at = [float(times[node]), end]
            shown = [1.0, 1.0 if node + 1 == count else 0.0]
            if node:
                at, shown = [0.0, *at], [0.0, *shown]
            scales = np.repeat(np.array(shown, np.float32)[:, None], 3, axis=1)
            sampler = {
                "input": self._glb.add_array("SCALAR", np.array(at, np.float32), bounded=True),
                "output": self._glb.add_array("VEC3", scales),
                "interpolation": "STEP",
            }
            channels.append({"sampler": node, "target": {"node": node, "path": "scale"}})
            samplers.append(sampler)
        return {"name": "expressions", "channels": channels, "samplers": samplers}

    def _waiting(self, name: str, values: np.ndarray) -> Callable[[], Sequence[np.ndarray]]:
        place = self._spool / f"{name}.npy"
        np.save(place, values, allow_pickle=False)
        return lambda: [np.load(place, allow_pickle=False)]


def beside(
    driving: UInt8[np.ndarray, "H W 3"] | None, avatar: UInt8[np.ndarray, "S S 3"]
) -> UInt8[np.ndarray, "S T 3"]:
    """The driving picture at the avatar's height, and the avatar."""
    if driving is None:
        return avatar
    import cv2

    size = len(avatar)
    height, width = driving.shape[:2]
    wide = max(2, 2 * round(size * width / height / 2))
    kind = cv2.INTER_AREA if height > size else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(driving, (wide, size), interpolation=kind), np.uint8)
    return np.hstack([small, avatar])


def driving_pictures(
    video: Path, frames: Sequence[int]
) -> Iterator[UInt8[np.ndarray, "H W 3"] | None]:
    """The pictures of a video with these numbers, ascending; None behind its end.

    Raises:
        SourceError: it cannot be read.
    """
    from ...stream.sources.opening import open_source

    wanted = list(frames)
    with open_source(video) as source:
        place = 0
        for frame in source:
            if place < len(wanted) and frame.index == wanted[place]:
                yield frame.image_bgr
                place += 1
            if place == len(wanted):
                return
    for _ in wanted[place:]:
        yield None
