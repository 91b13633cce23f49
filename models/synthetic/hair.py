"""Hair and beards: shells over the skin, a falling curtain, or fitted CC0 meshes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32

from ..errors import InputError
from ..makehuman.head import HeadTopology, cylinder_uv, triangulate
from ..makehuman.source import read_obj
from ..render.raster import vertex_normals
from ..render.surface import Surface
from ..render.texture import Texture
from .noise2d import smooth_field, smoothstep
from .person import Person

Vertices = Float32[np.ndarray, "V 3"]


@dataclass(frozen=True)
class FittedMesh:
    """A MakeHuman clothes mesh: each vertex rests on three vertices of the base mesh.

    Attributes:
        anchors: (K, 3) kept vertices of the head topology.
        weights: (K, 3) their barycentric weights.
        offsets: (K, 3) further offset, base-mesh axes, before scaling.
        scales: for x, y, z: two kept vertices and the distance at which the offset has scale 1.
        triangles: (M, 3).
        uv: (M, 3, 2).
    """

    name: str
    anchors: Int32[np.ndarray, "K 3"]
    weights: Float32[np.ndarray, "K 3"]
    offsets: Float32[np.ndarray, "K 3"]
    scales: tuple[tuple[int, int, float], ...]
    triangles: Int32[np.ndarray, "M 3"]
    uv: Float32[np.ndarray, "M 3 2"]

    def fit(self, head: Vertices) -> Float32[np.ndarray, "K 3"]:
        """Vertices on a head given in the head frame (y down, z in), mm."""
        placed = (head[self.anchors] * self.weights[..., None]).sum(1)
        # Base axes are x, -y, -z of the head frame; their small tilt does not matter to hair.
        scale = [
            abs(head[a, axis] - head[b, axis]) / d for axis, (a, b, d) in enumerate(self.scales)
        ]
        flip = np.array([1, -1, -1], np.float32)
        return (placed + self.offsets * np.asarray(scale, np.float32) * flip).astype(np.float32)


def read_fitted_mesh(path: Path, topology: HeadTopology) -> FittedMesh | None:
    """Read a ``.mhclo`` and the OBJ it names; None if it rests on more than the head.

    Raises:
        InputError: the file is not such a fitting.
    """
    anchors: list[list[int]] = []
    weights: list[list[float]] = []
    offsets: list[list[float]] = []
    scales: dict[str, tuple[int, int, float]] = {}
    obj = ""
    reading = False
    try:
        for line in path.read_text().splitlines():
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if words[0] == "obj_file":
                obj = words[1]
            elif words[0] in ("x_scale", "y_scale", "z_scale"):
                scales[words[0]] = (int(words[1]), int(words[2]), float(words[3]))
            elif words[0] == "verts":
                reading = True
            elif words[0] == "delete_verts":
                reading = False
            elif reading and words[0].lstrip("-").isdigit():
                # Lines such as "material ..." may stand between the vertices.
                if len(words) == 1:
                    anchors.append([int(words[0])] * 3)
                    weights.append([1.0, 0.0, 0.0])
                    offsets.append([0.0, 0.0, 0.0])
                else:
                    anchors.append([int(x) for x in words[:3]])
                    weights.append([float(x) for x in words[3:6]])
                    offsets.append([float(x) for x in words[6:9]])
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"{path}: not a MakeHuman fitting file: {error}") from error
    mesh = read_obj(path.parent / obj)
    ids = np.asarray(anchors, np.int32)
    if len(ids) != len(mesh.vertices) or len(scales) != 3:
        raise InputError(f"{path}: {len(ids)} fitted vertices, its OBJ has {len(mesh.vertices)}")
    ends = np.array([scales[axis + "_scale"][:2] for axis in "xyz"], np.int32)
    if not (np.isin(ids, topology.vertex_ids).all() and np.isin(ends, topology.vertex_ids).all()):
        return None
    placed = topology.place(ends)
    return FittedMesh(
        path.stem,
        topology.place(ids),
        np.asarray(weights, np.float32),
        np.asarray(offsets, np.float32),
        tuple(
            (int(a), int(b), scales[axis + "_scale"][2])
            for (a, b), axis in zip(placed, "xyz", strict=True)
        ),
        triangulate(mesh.quads),
        mesh.uv[_triangulate_uv(mesh.quads, mesh.quad_uvs)],
    )


def _triangulate_uv(
    quads: Int32[np.ndarray, "F 4"], quad_uvs: Int32[np.ndarray, "F 4"]
) -> Int32[np.ndarray, "M 3"]:
    """Texture ids in the order in which ``triangulate`` puts the triangles of ``quads``."""
    second = quads[:, 2] != quads[:, 3]
    return np.concatenate([quad_uvs[:, [0, 1, 2]], quad_uvs[second][:, [0, 2, 3]]])


def strands(rng: np.random.Generator, person: Person, opacity: float, size: int = 128) -> Texture:
    """A texture of hair running down it, with gaps where ``opacity`` < 1."""
    light = 1 + 0.22 * smooth_field(rng, size, size, size / 3, 12.0)
    light += 0.15 * smooth_field(rng, size, size, 5, 3.0)
    colour = np.array(person.hair, np.float32) * light[..., None]
    if 0 < person.greying < 1:
        grey = 0.35 * smoothstep(smooth_field(rng, size, size, size / 2.5, 12.0), 0.5, 2.0)
        colour += grey[..., None] * (rng.uniform(120, 200) - colour)
    gaps = smooth_field(rng, size, size, size / 2.5, 10.0)
    alpha = np.clip(opacity * 255 + 130 * gaps * (opacity < 1), 0, 255)
    if opacity >= 1:
        alpha[:] = 255
    rgba = np.concatenate([np.clip(colour, 2, 250), alpha[..., None]], 2)
    return Texture.from_image(
        rgba.astype(np.uint8) if opacity < 1 else rgba[..., :3].astype(np.uint8)
    )


class HairMaker:
    """Makes hair and beards for one head model."""

    def __init__(
        self, topology: HeadTopology, reference: Vertices, assets: Path | None = None
    ) -> None:
        """Prepare regions, and read CC0 hair meshes if a folder of assets is given.

        Raises:
            InputError: ``assets`` holds no hair meshes.
        """
        self._skin = triangulate(topology.parts["skin"])
        self._uv = cylinder_uv(topology)
        self._reference = reference
        self._marks = reference[topology.landmarks]
        outside = np.zeros(len(reference), bool)
        # Only what bulges outwards may grow: not the insides of mouth, sockets and ears.
        normals = vertex_normals(reference, self._skin)
        radial = reference - np.array([0, 20, 85], np.float32)
        radial /= np.linalg.norm(radial, axis=1, keepdims=True)
        outside[np.unique(self._skin)] = True
        self._outside = outside & ((normals * radial).sum(1) > 0.15)
        self.meshes: list[FittedMesh] = []
        if assets is not None:
            files = sorted(assets.glob("**/hair/*/*.mhclo"))
            if not files:
                raise InputError(f"{assets}: no hair/*/*.mhclo below it")
            read = (read_fitted_mesh(file, topology) for file in files)
            self.meshes = [mesh for mesh in read if mesh is not None]

    def hair(self, person: Person, rng: np.random.Generator) -> list[tuple[Vertices, Surface]]:
        """Surfaces of a person's hair, vertices in the head frame."""
        if person.long_hair <= 0:
            return []
        if self.meshes and rng.random() < 0.55:
            return [self._fitted(person, rng)]
        made = self._cap(person, rng)
        if person.long_hair > 0.6:
            made.append(self._curtain(person, rng))
        return made

    def _fitted(self, person: Person, rng: np.random.Generator) -> tuple[Vertices, Surface]:
        long = ("long", "bob", "pony", "braid")
        chances = np.array(
            [
                1.0 if (person.long_hair > 0.6) == mesh.name.startswith(long) else 0.15
                for mesh in self.meshes
            ]
        )
        # The bobs hide an eye; people who do that are fewer than one in three.
        chances *= [0.3 if mesh.name.startswith("bob") else 1.0 for mesh in self.meshes]
        mesh = self.meshes[rng.choice(len(self.meshes), p=chances / chances.sum())]
        vertices = mesh.fit(person.neutral)
        if rng.random() < 0.5:  # several styles cover one eye: half of the time the other one
            middle = person.neutral[:, 0].mean()
            vertices = vertices * np.array([-1, 1, 1], np.float32)
            vertices[:, 0] += 2 * middle
            triangles, uv = mesh.triangles[:, ::-1], mesh.uv[:, ::-1]
        else:
            triangles, uv = mesh.triangles, mesh.uv
        surface = Surface(
            vertices,
            np.ascontiguousarray(triangles),
            texture=strands(rng, person, rng.uniform(0.7, 0.95)),
            uv=np.ascontiguousarray(uv * np.array([4.0, 1.0], np.float32)),
            specular=rng.uniform(0.01, 0.05),
            roughness=0.4,
            two_sided=True,
        )
        return vertices, surface

    def _shell(
        self,
        person: Person,
        region: Float32[np.ndarray, " V"],
        thickness: Float32[np.ndarray, " V"],
        texture: Texture,
        repeat: float,
    ) -> tuple[Vertices, Surface]:
        """The skin lifted along its normals where ``region`` > 0, fading out with it."""
        normals = vertex_normals(person.neutral, self._skin)
        vertices = person.neutral + normals * (thickness * np.clip(region, 0.15, 1))[:, None]
        keep = (region[self._skin] > 0.02).any(1) & self._outside[self._skin].all(1)
        triangles = self._skin[keep]
        uv = self._uv[triangles].copy()
        wrap = np.ptp(uv[..., 0], axis=1) > 0.5
        uv[wrap, :, 0] += uv[wrap, :, 0] < 0.5
        surface = Surface(
            vertices.astype(np.float32),
            np.ascontiguousarray(triangles),
            texture=texture,
            uv=np.ascontiguousarray(uv * np.float32(repeat)),
            alpha=np.clip(region, 0, 1).astype(np.float32),
            specular=0.02,
            roughness=0.5,
            two_sided=True,
        )
        return surface.vertices, surface

    def _bumps(self, rng: np.random.Generator) -> Float32[np.ndarray, " V"]:
        """Low-frequency noise on the vertices, about unit deviation."""
        waves = rng.normal(0, 0.035, (3, 12))
        return (
            np.sin(self._reference @ waves + rng.uniform(0, 6.3, 12)).sum(1) / np.sqrt(6)
        ).astype(np.float32)

    def _cap(self, person: Person, rng: np.random.Generator) -> list[tuple[Vertices, Surface]]:
        p = self._reference
        brow = self._marks[17:27, 1].mean()
        hairline = brow - rng.uniform(32, 60) + rng.normal(0, 0.12) * p[:, 0]
        hairline = hairline + rng.uniform(0.3, 0.7) * np.maximum(p[:, 2] - 18, 0)
        if rng.random() < 0.3:  # fringe
            hairline = hairline + rng.uniform(8, 26) * (p[:, 2] < 30)
        region = smoothstep(p[:, 1] - hairline + 4 * self._bumps(rng), 6, -6)
        back = smoothstep(p[:, 2], 95, 112) * smoothstep(p[:, 1], 90, 70)
        lowest = rng.uniform(5, 45)
        side = smoothstep(p[:, 2], 84, 100) * smoothstep(p[:, 1], lowest, lowest - 20)
        region = np.maximum(region, np.maximum(back, side))
        depth = rng.uniform(2, 9) if person.long_hair < 0.6 else rng.uniform(5, 16)
        if rng.random() < 0.12:
            depth *= 3.0  # a big head of curls
        lift = (depth * np.clip(1 + 0.3 * self._bumps(rng), 0.2, 2)).astype(np.float32)
        texture = strands(rng, person, rng.uniform(0.65, 0.9))
        repeat = float(rng.choice([2.0, 4.0, 6.0]))
        return [
            self._shell(person, region * level, lift * part, texture, repeat)
            for part, level in ((0.35, 1.0), (0.7, 0.9), (1.0, 0.8))
        ]

    def beard(self, person: Person, rng: np.random.Generator) -> list[tuple[Vertices, Surface]]:
        """Shells of a beard that has grown out."""
        if person.beard < 0.6:
            return []
        p, marks = self._reference, self._marks
        nose, chin, lips = (float(y) for y in (marks[33, 1], marks[8, 1], marks[48:60, 1].mean()))
        cheek = nose + rng.uniform(5, 22) - 0.45 * np.maximum(np.abs(p[:, 0]) - 30, 0)
        region = smoothstep(p[:, 1], cheek + 2, cheek + 14)
        region *= smoothstep(p[:, 1] + 0.35 * p[:, 2], chin + 38, chin + 22)
        region *= smoothstep(p[:, 2], 90, 76)
        gap = np.exp(-0.5 * ((p[:, 0] / 23) ** 2 + ((p[:, 1] - lips) / 9) ** 2) ** 2)
        region *= 1 - np.clip(1.4 * gap, 0, 1)
        hanging = 1 + rng.uniform(0, 2.5) * smoothstep(p[:, 1], lips + 10, chin)
        lift = (rng.uniform(1.5, 5) * (person.beard - 0.4) * 2 * hanging).astype(np.float32)
        texture = strands(rng, person, rng.uniform(0.5, 0.8))
        region = region.astype(np.float32) * np.float32(0.9)
        return [self._shell(person, region, lift * part, texture, 6.0) for part in (0.5, 1.0)]

    def _curtain(self, person: Person, rng: np.random.Generator) -> tuple[Vertices, Surface]:
        """Long hair that falls from the crown past the ears, open to the face."""
        head = person.neutral[np.unique(self._skin)]
        columns, rows = 40, 14
        opening = np.radians(rng.uniform(48, 75))
        azimuth = np.linspace(opening, 2 * np.pi - opening, columns)
        top = head[:, 1].min()
        length = rng.uniform(60, 210)
        heights = np.linspace(top + 45, 40 + length, rows)
        centre_z = 95.0
        half_x = np.abs(head[head[:, 1] < 20, 0]).max()
        radius_x = half_x + rng.uniform(2, 14)
        radius_z = head[:, 2].max() * 0.55 + rng.uniform(0, 12)
        grid = np.zeros((rows, columns, 3), np.float32)
        phase = rng.uniform(0, 6.3, 3)
        for i, y in enumerate(heights):
            spread = 1 - 0.55 * max(0.0, (top + 75 - y) / 75) ** 2
            wave = 1 + 0.04 * np.sin(5 * azimuth + phase[0] + y / 30)
            grid[i, :, 0] = radius_x * spread * wave * np.sin(azimuth)
            grid[i, :, 2] = centre_z - radius_z * spread * wave * np.cos(azimuth)
            grid[i, :, 1] = y + rng.normal(0, 1.5, columns)
        grid[-1, :, 1] += rng.normal(0, 12, columns)
        index = np.arange(rows * columns).reshape(rows, columns)
        quads = np.stack(
            [index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], -1
        ).reshape(-1, 4)
        v = np.repeat(np.linspace(1, 0, rows), columns)
        u = np.tile(np.linspace(0, rng.choice([3, 6]), columns), rows)
        uv = np.stack([u, v], 1).astype(np.float32)
        triangles = triangulate(quads.astype(np.int32))
        vertices = grid.reshape(-1, 3)
        edge = np.abs(np.linspace(-1, 1, columns))
        alpha = np.clip((1 - edge) * 12, 0, 1)[None] * np.linspace(1, 0.9, rows)[:, None]
        surface = Surface(
            vertices,
            triangles,
            texture=strands(rng, person, rng.uniform(0.75, 0.95)),
            uv=uv[triangles],
            alpha=alpha.ravel().astype(np.float32),
            specular=rng.uniform(0.01, 0.05),
            roughness=0.4,
            two_sided=True,
        )
        return vertices, surface
