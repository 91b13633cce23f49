"""Binary glTF 2.0 with vertex colours in linear light, 16 bits deep.

trimesh writes colours as 8 bits without turning them from sRGB to the linear light that glTF asks
for; dark hair would be too bright, or, turned, show bands. So these files are packed here; other
people's are read by trimesh.
"""

from __future__ import annotations

import io
import json
import struct
from typing import Any, Final

import numpy as np
from jaxtyping import Float, UInt8

from ..documents import json_of
from ..render.texture import linear_from_srgb
from .triangle_mesh import TriangleMesh

_FLOAT, _UINT, _USHORT = 5126, 5125, 5123
_VERTICES, _INDICES = 34962, 34963
_AXES = np.array([1, -1, -1], np.float32)
"""mien's x right, y down, z away against glTF's x right, y up, z towards the viewer."""
_MM = np.float32(1000.0)
_PLAUSIBLE: Final = 1_000_000
_DEEPEST: Final = 64
_MOST_TIMES: Final = 4
"""By so much the elements of larger files may outnumber their bytes."""


def glb_bytes(mesh: TriangleMesh) -> bytes:
    """The file's content: one mesh, in metres, y up, front towards +z."""
    used = mesh.vertex_normals()
    lonely = np.linalg.norm(used, axis=1) < 0.5
    used[lonely] = (0, 0, -1)
    arrays: list[tuple[str, np.ndarray, int, str, int]] = [
        ("POSITION", mesh.vertices * _AXES / _MM, _FLOAT, "VEC3", _VERTICES),
        ("NORMAL", used * _AXES, _FLOAT, "VEC3", _VERTICES),
    ]
    if mesh.colours is not None:
        linear = np.ones((len(mesh.vertices), 4), np.float32)
        linear[:, :3] = linear_from_srgb(mesh.colours)
        deep = np.rint(linear * np.float32(65535)).astype(np.uint16)
        arrays.append(("COLOR_0", deep, _USHORT, "VEC4", _VERTICES))
    arrays.append(("", mesh.triangles.astype(np.uint32).reshape(-1), _UINT, "SCALAR", _INDICES))
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []
    binary = b""
    for name, values, component, kind, target in arrays:
        data = np.ascontiguousarray(values).tobytes()
        views.append(
            {"buffer": 0, "byteOffset": len(binary), "byteLength": len(data), "target": target}
        )
        accessor: dict[str, Any] = {
            "bufferView": len(views) - 1,
            "componentType": component,
            "count": len(values),
            "type": kind,
        }
        if name == "POSITION":
            accessor |= {
                "min": values.min(axis=0).astype(float).tolist(),
                "max": values.max(axis=0).astype(float).tolist(),
            }
        if name == "COLOR_0":
            accessor["normalized"] = True
        accessors.append(accessor)
        binary += data + b"\0" * (-len(data) % 4)
    attributes = {name: k for k, (name, *_) in enumerate(arrays) if name}
    primitive = {"attributes": attributes, "indices": len(arrays) - 1, "material": 0}
    tree = {
        "asset": {"version": "2.0", "generator": "mien"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.9}}],
        "buffers": [{"byteLength": len(binary)}],
        "bufferViews": views,
        "accessors": accessors,
    }
    return _packed(tree, binary)


def mesh_of_glb(content: bytes) -> TriangleMesh:
    """The mesh of a GLB file, all nodes in their places, in mm with y down.

    Raises:
        ValueError: it is not a GLB, or has no mesh.
        ModuleNotFoundError: trimesh or Pillow is missing.
    """
    import PIL.Image  # noqa: F401  without it trimesh reads no materials, and deep colours wrongly
    import trimesh

    plain = _with_plain_materials(content)
    scene = trimesh.load_scene(io.BytesIO(plain), file_type="glb", process=False)
    count = 0
    vertices: list[np.ndarray] = []
    triangles: list[np.ndarray] = []
    colours: list[np.ndarray] = []
    for node in scene.graph.nodes_geometry:
        placement, name = scene.graph[node]
        part = scene.geometry[name]
        if not isinstance(part, trimesh.Trimesh):
            continue
        mirrored = np.linalg.det(placement[:3, :3]) < 0
        faces = np.asarray(part.faces)[:, :: -1 if mirrored else 1]
        triangles.append(faces + count)
        count += len(part.vertices)
        vertices.append(part.vertices @ placement[:3, :3].T + placement[:3, 3])
        look: Any = part.visual
        if "color" in look.vertex_attributes:
            colours.append(_srgb(np.asarray(look.vertex_attributes["color"])[:, :3]))
    if not triangles:
        raise ValueError("no triangles in it")
    return TriangleMesh(
        np.concatenate(vertices).astype(np.float32) * _AXES * _MM,
        np.concatenate(triangles).astype(np.int32),
        np.concatenate(colours) if len(colours) == len(vertices) else None,
    )


def _packed(tree: dict[str, Any], binary: bytes) -> bytes:
    """The two chunks of a GLB file behind its header."""
    text = json.dumps(tree, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    whole = 12 + 8 + len(text) + 8 + len(binary)
    return (
        struct.pack("<4sII", b"glTF", 2, whole)
        + struct.pack("<I4s", len(text), b"JSON")
        + text
        + struct.pack("<I4s", len(binary), b"BIN\0")
        + binary
    )


def _with_plain_materials(content: bytes) -> bytes:
    """Give all the same material, without pictures: only of what has one trimesh keeps colours.

    Raises:
        ValueError: it is no GLB, or declares more than its bytes can hold.
    """
    if content[:4] != b"glTF" or content[16:20] != b"JSON":
        raise ValueError("it does not begin as a GLB does")
    end = 20 + struct.unpack("<I", content[12:16])[0]
    tree = json_of(content[20:end])
    _check_counts(tree, len(content))
    for mesh in tree.get("meshes", []):
        for primitive in mesh["primitives"]:
            primitive["material"] = 0
    tree = {key: tree[key] for key in tree.keys() - {"images", "textures", "samplers"}}
    return _packed(tree | {"materials": [{}]}, content[end + 8 :])


def _check_counts(tree: dict[str, Any], size: int) -> None:
    """Refuse a file whose parts are named so often that they come to far more than its bytes.

    Each accessor is copied, and each mesh for every node that shows it. Real files show some meshes
    several times, and have several materials on the same vertices.

    Raises:
        ValueError: it is one.
    """
    accessors = tree.get("accessors", [])
    counts = [accessor["count"] for accessor in accessors]
    for count in counts:
        if not 0 <= count <= size:
            raise ValueError(f"an accessor of {count} elements, beyond the file")
    lengths = [view["byteLength"] for view in tree.get("bufferViews", [])]
    if min(lengths, default=0) < 0:
        raise ValueError("a view of less than nothing")
    meshes: list[int] = []
    for mesh in tree.get("meshes", []):
        parts = [(p["attributes"]["POSITION"], p.get("indices")) for p in mesh["primitives"]]
        meshes.append(sum(counts[at] for part in parts for at in part if at is not None))
    nodes = tree.get("nodes", [])
    roots = [root for scene in tree.get("scenes", []) for root in scene.get("nodes", [])]
    _check_depth(nodes, roots)
    placed = roots + [child for node in nodes for child in node.get("children", [])]
    shown = sum(meshes[nodes[node]["mesh"]] for node in placed if "mesh" in nodes[node])
    most = max(_PLAUSIBLE, _MOST_TIMES * size)
    for what, total in (
        ("bytes in views", sum(lengths)),
        ("elements in accessors", sum(counts)),
        ("elements in meshes", sum(meshes)),
        ("elements in nodes", shown),
    ):
        if total > most:
            raise ValueError(f"{total} {what}, of a file of {size} bytes")


def _check_depth(nodes: list[dict[str, Any]], roots: list[int]) -> None:
    """Refuse nodes within nodes beyond what bones need: trimesh walks up from each, and back.

    Raises:
        ValueError: they are deeper, or in a ring.
    """
    level = set(roots)
    for _ in range(_DEEPEST):
        level = {child for node in level for child in nodes[node].get("children", [])}
    if level:
        raise ValueError(f"nodes within nodes, over {_DEEPEST} deep")


def _srgb(linear: np.ndarray) -> UInt8[np.ndarray, "V 3"]:
    """sRGB bytes of linear light as glTF stores it: bytes, 16 bits or floats."""
    light: Float[np.ndarray, "V 3"] = linear.astype(np.float64)
    if linear.dtype.kind == "u":
        light /= np.iinfo(linear.dtype).max
    light = np.clip(light, 0, 1)
    coded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(coded * 255).astype(np.uint8)
