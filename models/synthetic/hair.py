"""Hair and beards: shells over the skin, a falling curtain, or fitted CC0 meshes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from ..makehuman.head import HeadTopology, cylinder_uv, triangulate
from ..render.raster import vertex_normals
from ..render.surface import Surface
from ..render.texture import Texture
from .fitted import FittedMesh, meshes_below, read_fitted_mesh
from .headmap import HeadMap
from .locks import LockStyle, locks, sample_style
from .noise2d import smoothstep
from .person import Person
from .strands import strands

Vertices = Float32[np.ndarray, "V 3"]
_DOWN = np.array([0.0, 1.0, 0.0])


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
        self._map = HeadMap(reference, self._skin)
        self.meshes: list[FittedMesh] = []
        if assets is not None:
            files = meshes_below(assets, "hair/*/*.mhclo", "hair meshes")
            read = (read_fitted_mesh(file, topology) for file in files)
            self.meshes = [mesh for mesh in read if mesh is not None]

    def hair(
        self,
        person: Person,
        rng: np.random.Generator,
        down: Float[np.ndarray, " 3"] = _DOWN,
    ) -> list[Surface]:
        """Surfaces of a person's hair, vertices in the head frame; ``down`` is where it falls."""
        if person.long_hair <= 0:
            return []
        kind = rng.random()
        if self.meshes and kind < 0.34:
            return [self._fitted(person, rng)]
        made = self._cap(person, rng)
        if kind < 0.75:
            return made + self._locks(person, down, rng)
        if person.long_hair > 0.6:
            made.append(self._curtain(person, rng))
        return made

    def _locks(
        self, person: Person, down: Float[np.ndarray, " 3"], rng: np.random.Generator
    ) -> list[Surface]:
        """Locks all over the scalp, some of them over the forehead or tied up behind."""
        long = person.long_hair > 0.6
        style = sample_style(rng, long)
        p = self._reference
        brow = self._marks[17:27, 1].mean()
        hairline = brow - rng.uniform(30, 58) + rng.uniform(0.4, 0.8) * np.maximum(p[:, 2] - 18, 0)
        grows = self._outside & (p[:, 1] < np.minimum(hairline, 60)) & (p[:, 2] > 0)
        grows |= self._outside & (p[:, 2] > 100) & (p[:, 1] < 75)
        table = self._map.measure(person.neutral, tight=True)
        normals = vertex_normals(person.neutral, self._skin)
        made = []
        roots = np.flatnonzero(grows)
        if long and rng.random() < 0.2:  # tied up: only what hangs from the knot, and short hair
            knot = roots[(p[roots, 2] > 150) & (np.abs(p[roots, 0]) < 30)]
            tail = replace(style, count=60, clearance=18.0, stiffness=0.75)
            made.append(locks(person.neutral[knot], normals[knot], table, down, tail, person, rng))
            style = replace(style, length=60.0, stiffness=0.5, clearance=2.0, comb=0.1)
        made.append(locks(person.neutral[roots], normals[roots], table, down, style, person, rng))
        if rng.random() < 0.3:  # a fringe, or locks that fell into the face
            front = roots[(p[roots, 2] < 62)]
            fringe = replace(
                style,
                count=int(rng.integers(6, 60)),
                length=rng.uniform(30, 110),
                comb=rng.uniform(0, 0.3),
                opening=0.0,
                stiffness=rng.uniform(0.2, 0.6),
            )
            forwards = normals[front] + np.array([0, 0.2, -0.6], np.float32)
            made.append(locks(person.neutral[front], forwards, table, down, fringe, person, rng))
        return made

    def _fitted(self, person: Person, rng: np.random.Generator) -> Surface:
        long = ("long", "bob", "pony", "braid")
        chances = np.array(
            [
                1.0 if (person.long_hair > 0.6) == mesh.name.startswith(long) else 0.15
                for mesh in self.meshes
            ]
        )
        # The bobs hide an eye; people who do that are fewer than one in three.
        chances *= [0.2 if mesh.name.startswith("bob") else 1.0 for mesh in self.meshes]
        mesh = self.meshes[rng.choice(len(self.meshes), p=chances / chances.sum())]
        vertices = mesh.fit(person.neutral)
        if rng.random() < 0.5:  # several styles cover one eye: half of the time the other one
            middle = person.neutral[:, 0].mean()
            vertices = vertices * np.array([-1, 1, 1], np.float32)
            vertices[:, 0] += 2 * middle
            triangles, uv = mesh.triangles[:, ::-1], mesh.uv[:, ::-1]
        else:
            triangles, uv = mesh.triangles, mesh.uv
        return Surface(
            vertices,
            np.ascontiguousarray(triangles),
            texture=strands(rng, person, rng.uniform(0.85, 1.0)),
            uv=np.ascontiguousarray(uv * np.array([4.0, 1.0], np.float32)),
            specular=rng.uniform(0.01, 0.05),
            roughness=0.4,
            two_sided=True,
        )

    def _shells(
        self,
        person: Person,
        region: Float32[np.ndarray, " V"],
        thickness: Float32[np.ndarray, " V"],
        layers: tuple[tuple[float, float], ...],
        texture: Texture,
        repeat: float,
    ) -> list[Surface]:
        """The skin lifted along its normals where ``region`` > 0, fading out with it.

        ``layers`` are pairs: share of the thickness, opacity.
        """
        keep = (region[self._skin] > 0.02).any(1) & self._outside[self._skin].all(1)
        used, numbers = np.unique(self._skin[keep], return_inverse=True)
        triangles = np.ascontiguousarray(numbers.reshape(-1, 3).astype(np.int32))
        normals = vertex_normals(person.neutral, self._skin)[used]
        lift = normals * (thickness[used] * np.clip(region[used], 0.15, 1))[:, None]
        uv = self._uv[self._skin[keep]]
        wrap = np.ptp(uv[..., 0], axis=1) > 0.5
        uv[wrap, :, 0] += uv[wrap, :, 0] < 0.5
        uv = np.ascontiguousarray(uv * np.float32(repeat))
        return [
            Surface(
                (person.neutral[used] + np.float32(part) * lift).astype(np.float32),
                triangles,
                normals=normals,
                texture=texture,
                uv=uv,
                alpha=np.clip(region[used] * np.float32(level), 0, 1).astype(np.float32),
                specular=0.02,
                roughness=0.5,
                two_sided=True,
            )
            for part, level in layers
        ]

    def _bumps(self, rng: np.random.Generator) -> Float32[np.ndarray, " V"]:
        """Low-frequency noise on the vertices, about unit deviation."""
        waves = rng.normal(0, 0.035, (3, 6)).astype(np.float32)
        phases = rng.uniform(0, 6.3, 6).astype(np.float32)
        return np.sin(self._reference @ waves + phases).sum(1) / np.float32(np.sqrt(3))

    def _cap(self, person: Person, rng: np.random.Generator) -> list[Surface]:
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
        texture = strands(rng, person, rng.uniform(0.8, 1.0))
        repeat = float(rng.choice([2.0, 4.0, 6.0]))
        layers = ((0.4, 1.0), (1.0, 0.85))
        return self._shells(person, region, lift, layers, texture, repeat)

    def beard(self, person: Person, rng: np.random.Generator) -> list[Surface]:
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
        made = self._shells(person, region, lift, ((0.5, 1.0), (1.0, 1.0)), texture, 6.0)
        if rng.random() < 0.7:
            roots = np.flatnonzero((region > 0.4) & self._outside)
            style = LockStyle(
                count=int(rng.integers(120, 240)),
                length=rng.uniform(8, 28) * (person.beard + 0.2),
                width=rng.uniform(3, 8),
                stiffness=rng.uniform(0.5, 0.85),
                wave=rng.uniform(0, 3),
                turns=rng.uniform(0.5, 2),
                clearance=rng.uniform(0.5, 3),
                comb=0.0,
                mess=rng.uniform(0.2, 0.7),
                opening=0.0,
                opacity=rng.uniform(0.5, 0.9),
            )
            table = self._map.measure(person.neutral, tight=True)
            normals = vertex_normals(person.neutral, self._skin)
            made.append(
                locks(person.neutral[roots], normals[roots], table, _DOWN, style, person, rng)
            )
        return made

    def _curtain(self, person: Person, rng: np.random.Generator) -> Surface:
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
        return Surface(
            vertices,
            triangles,
            texture=strands(rng, person, rng.uniform(0.75, 0.95)),
            uv=uv[triangles],
            alpha=alpha.ravel().astype(np.float32),
            specular=rng.uniform(0.01, 0.05),
            roughness=0.4,
            two_sided=True,
        )
