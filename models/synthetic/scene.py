"""One labelled picture of a synthetic face: person, expression, pose, camera, light, render."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int32, UInt8

from ..face.camera import Camera
from ..face.morphable import FaceModel
from ..face.perspective import apparent_rotation, nearest_scaled_orthography
from ..face.rotation import (
    matrix_from_rotation_vector,
    matrix_from_yaw_pitch_roll,
    yaw_pitch_roll_from_matrix,
)
from ..makehuman.build import HeadModel
from ..makehuman.expression import sample_expression
from ..makehuman.head import cylinder_uv, triangulate
from ..noise.photo import develop
from ..render.occlusion import ambient_occlusion
from ..render.raster import vertex_normals
from ..render.scene import render
from ..render.surface import Surface
from ..render.texture import Texture
from .accessories import Wardrobe
from .backdrop import sample_background, set_beside
from .clothes import collar, lower_edge, trunk
from .eyes import EyePainter
from .framing import SIZE, Pose, crop_camera, sample_body, sample_pose
from .hair import HairMaker
from .negatives import sample_drawing
from .person import People, Person
from .skin import SkinPainter
from .surroundings import sample_lights

N_POINTS = 220
"""Vertices whose projections are labels: the 68 landmarks, then spread ones."""
_OVERSAMPLING = 1.4
_NECK_PIVOT = np.array([0.0, 135.0, 95.0])


@dataclass(frozen=True)
class Truth:
    """Labels of one picture; :class:`.shards.Labels` says their units."""

    pose: Float32[np.ndarray, "3 4"]
    shape: Float32[np.ndarray, " 40"]
    expression: Float32[np.ndarray, " 10"]
    blendshapes: Float32[np.ndarray, " 52"]
    points: Float32[np.ndarray, "K 2"]
    angles: Float32[np.ndarray, " 3"]
    presence: float


@dataclass(frozen=True)
class Look:
    """A person with painted skin, reused for a few pictures because painting is slow."""

    person: Person
    texture: Texture


def spread_points(model: FaceModel, count: int = N_POINTS) -> Int32[np.ndarray, " K"]:
    """The landmarks' vertices, then the vertex farthest from all before, again and again."""
    mean, chosen = model.mean, list(model.landmark_vertices)
    distance = np.min([np.linalg.norm(mean - mean[i], axis=1) for i in chosen], 0)
    while len(chosen) < count:
        chosen.append(np.int32(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(mean - mean[chosen[-1]], axis=1))
    return np.asarray(chosen, np.int32)


def following(points: Float32[np.ndarray, "K 3"]) -> Float32[np.ndarray, " K"]:
    """1 where a point of the head frame turns with the head, 0 at the shoulders."""
    t = np.clip((points[:, 1] + 0.25 * points[:, 2] - 128) / 75, 0, 1)
    return (1 - t * t * (3 - 2 * t)).astype(np.float32)


class Studio:
    """Renders labelled pictures; everything slow is prepared once."""

    def __init__(self, head: HeadModel, assets: Path | None = None) -> None:
        """Prepare.

        Args:
            head: the head model.
            assets: folder with CC0 hair meshes (MakeHuman assets), or None: procedural hair.
        """
        self.head = head
        self.people = People(head)
        topology = head.topology
        rng = np.random.default_rng(0)
        heads = [self.people.sampler.vertices(self.people.sampler.sample(rng)) for _ in range(100)]
        self.reference, _ = self.people.place(np.mean(heads, 0).astype(np.float32))
        self._skin = triangulate(topology.parts["skin"])
        self._painter = SkinPainter(head, self.reference)
        self._eyes = EyePainter(topology)
        self._hair = HairMaker(topology, self.reference, assets)
        self._wardrobe = Wardrobe(head, self.reference)
        self._vertex_uv = cylinder_uv(topology)
        self._uv = self._skin_uv()
        self._tint, self._occlusion = self._insides()
        self._follow = following(self.reference)
        self._edge = lower_edge(self.reference, self._skin)
        self._neck = self._neck_vertices()
        self.points = spread_points(head.model)
        basis = head.model.expression_basis.reshape(len(head.model.expression_basis), -1)
        whiten = basis.astype(np.float64) / (basis.astype(np.float64) ** 2).sum(1, keepdims=True)
        blend = head.model.blendshape_basis.reshape(len(head.model.blendshape_basis), -1)
        self._expression_from_blendshapes = whiten @ blend.T.astype(np.float64)

    def _skin_uv(self) -> Float32[np.ndarray, "M 3 2"]:
        uv = self._vertex_uv[self._skin]
        wrap = np.ptp(uv[..., 0], axis=1) > 0.5
        uv[wrap, :, 0] += uv[wrap, :, 0] < 0.5
        return np.ascontiguousarray(uv)

    def _neck_vertices(self) -> Int32[np.ndarray, " K"]:
        """Vertices of the skin between chin and shoulders."""
        p = self.reference
        chin = p[self.head.topology.landmarks[8], 1]
        around = (np.hypot(p[:, 0], p[:, 2] - 112) < 85) & (p[:, 1] > chin + 25)
        chosen = np.flatnonzero(around & (p[:, 1] < chin + 62))
        return np.intersect1d(chosen, self._skin).astype(np.int32)

    def _insides(self) -> tuple[Float32[np.ndarray, "V 3"], Float32[np.ndarray, " V"]]:
        """Colour factor and occlusion of skin vertices: mouth, sockets and nostrils are dark."""
        marks = self.reference[self.head.topology.landmarks]
        p = self.reference
        shown = np.zeros(len(p), bool)
        shown[self.head.face_vertices] = True
        near = (p[:, 2] < 75) & (np.abs(p[:, 0]) < 60) & (p[:, 1] < marks[8, 1] - 8) & ~shown
        mouth = near & (p[:, 1] > marks[33, 1] + 4) & (np.abs(p[:, 0]) < 36)
        mouth &= p[:, 1] < marks[57, 1] + 12
        nose = near & ~mouth & (np.abs(p[:, 0]) < 16) & (p[:, 1] > marks[29, 1])
        socket = near & (p[:, 1] < marks[30, 1]) & (p[:, 1] > -20) & (np.abs(p[:, 0]) > 10)
        tint = np.ones((len(p), 3), np.float32)
        tint[mouth] = (0.45, 0.16, 0.15)
        tint[nose] = (0.5, 0.3, 0.28)
        tint[socket] = (0.9, 0.55, 0.5)
        occlusion = np.ones(len(p), np.float32)
        occlusion[mouth], occlusion[nose], occlusion[socket] = 0.12, 0.25, 0.5
        under = np.clip((p[:, 1] - marks[8, 1]) / 25, 0, 1) * (p[:, 1] < 200)
        occlusion *= 1 - 0.45 * under.astype(np.float32)
        (reached,) = ambient_occlusion([Surface(p, self._skin)], directions=64)
        return tint, (occlusion * (0.15 + 0.85 * reached)).astype(np.float32)

    def sample_look(self, rng: np.random.Generator) -> Look:
        """Draw a person and paint their skin."""
        person = self.people.sample(rng)
        return Look(person, self._painter.paint(person, rng))

    def shoot(
        self,
        look: Look,
        rng: np.random.Generator,
        neighbour: UInt8[np.ndarray, "S S 3"] | None = None,
    ) -> tuple[UInt8[np.ndarray, "S S 3"], Truth]:
        """Render one picture (BGR) of a person with a new expression, pose, hair, light.

        ``neighbour`` is another picture, whose person sometimes appears beside this one.
        """
        person = look.person
        values = sample_expression(rng)
        moved = self.expressed(person, values)
        pose = sample_pose(rng)
        face = moved[self.head.face_vertices].astype(np.float64)
        face_camera = face @ pose.rotation.T + pose.translation
        marks_camera = face_camera[self.head.model.landmark_vertices]
        camera = crop_camera(marks_camera, round(SIZE * _OVERSAMPLING))
        body = sample_body(pose, rng)
        surfaces = self.surfaces(look, values, pose, body, rng)
        background = sample_background(rng, camera.width)
        if neighbour is not None and rng.random() < 0.12:
            set_beside(background, neighbour, rng)
        picture = render(surfaces, camera, sample_lights(rng), background)
        image = develop(picture.image, SIZE, rng)
        return image, self._labels(person, values, face_camera, face, pose, marks_camera)

    def _labels(
        self,
        person: Person,
        values: Float32[np.ndarray, " 52"],
        face_camera: Float64[np.ndarray, "N 3"],
        face: Float64[np.ndarray, "N 3"],
        pose: Pose,
        marks_camera: Float64[np.ndarray, "68 3"],
    ) -> Truth:
        pixels = crop_camera(marks_camera, SIZE).project(face_camera)
        orthography = nearest_scaled_orthography(face, pixels)
        apparent = apparent_rotation(pose.rotation, pose.translation)
        return Truth(
            pose=orthography.astype(np.float32),
            shape=person.shape,
            expression=(self._expression_from_blendshapes @ values).astype(np.float32),
            blendshapes=values,
            points=pixels[self.points].astype(np.float32),
            angles=yaw_pitch_roll_from_matrix(apparent).astype(np.float32),
            presence=1.0,
        )

    def expressed(
        self, person: Person, values: Float32[np.ndarray, " 52"]
    ) -> Float32[np.ndarray, "V 3"]:
        """The person's head with an expression, head frame, mm."""
        return person.neutral + np.tensordot(values, self.head.units, 1).astype(np.float32)

    def surfaces(
        self,
        look: Look,
        values: Float32[np.ndarray, " 52"],
        pose: Pose,
        body: Float64[np.ndarray, "3 3"],
        rng: np.random.Generator,
    ) -> list[Surface]:
        """All surfaces of a person, in the camera frame; hair and accessories are drawn by chance.

        Args:
            look: who.
            values: blendshapes.
            pose: of the head.
            body: orientation of the shoulders.
            rng: the same state gives the same hair and accessories.
        """
        person = look.person
        moved = self.expressed(person, values)
        skin = self._to_camera(moved, self._follow, pose, body)
        gloss = rng.uniform(0.015, 0.05)
        surfaces = [
            Surface(
                skin,
                self._skin,
                normals=vertex_normals(skin, self._skin),
                colour=self._tint,
                texture=look.texture,
                uv=self._uv,
                occlusion=self._occlusion,
                specular=gloss,
                roughness=float(rng.uniform(0.35, 0.6)),
                subsurface=float(rng.uniform(0.3, 0.9)),
            )
        ]
        parts = self._eyes.eyeballs(person, values, rng)
        parts.append(self._eyes.lashes(moved, person, rng))
        parts += self._eyes.mouth(moved, rng)
        parts.append(trunk(moved, self._edge, self._vertex_uv, look.texture))
        if rng.random() < 0.4:
            parts += collar(moved[self._neck], rng)
        outfit = self._wardrobe.dress(person, moved, rng)
        if not outfit.hides_hair:
            parts += self._hair.hair(person, rng, pose.rotation.T @ [0.0, 1.0, 0.0])
        parts += self._hair.beard(replace(person, neutral=moved), rng)
        for surface in parts + outfit.worn:
            placed = self._to_camera(surface.vertices, following(surface.vertices), pose, body)
            normals = surface.normals
            if normals is not None:
                normals = (normals @ pose.rotation.T).astype(np.float32)
            surfaces.append(replace(surface, vertices=placed, normals=normals))
        for held in outfit.held:
            still = np.ones(len(held.vertices), np.float32)
            placed = self._to_camera(held.vertices, still, pose, body)
            surfaces.append(replace(held, vertices=placed))
        return surfaces

    @staticmethod
    def _to_camera(
        vertices: Float32[np.ndarray, "K 3"],
        follow: Float32[np.ndarray, " K"],
        pose: Pose,
        body: Float64[np.ndarray, "3 3"],
    ) -> Float32[np.ndarray, "K 3"]:
        head = vertices @ pose.rotation.T.astype(np.float32)
        if follow.min() < 1:
            trunk = vertices @ body.T.astype(np.float32)
            trunk += (pose.rotation @ _NECK_PIVOT - body @ _NECK_PIVOT).astype(np.float32)
            head += (1 - follow)[:, None] * (trunk - head)
        return head + pose.translation.astype(np.float32)

    def shoot_nothing(
        self, rng: np.random.Generator, look: Look | None = None
    ) -> tuple[UInt8[np.ndarray, "S S 3"], Truth]:
        """A picture without a face to be measured.

        Clutter, drawings, animals, a hand, the back of a head, or a face mostly out of the frame;
        heads and hands are those of ``look``, if it is given.
        """
        size = round(SIZE * _OVERSAMPLING)
        kind = rng.random()
        if kind < 0.42:
            image = sample_drawing(rng, size)
        else:
            look = look or self.sample_look(rng)
            background = sample_background(rng, size)
            if kind < 0.55:
                surfaces, camera = self._only_a_hand(look, size, rng)
            elif kind < 0.72:
                surfaces, camera = self._cut_off(look, size, rng)
            else:
                surfaces, camera = self._from_behind(look, size, rng)
            image = render(surfaces, camera, sample_lights(rng), background).image
        none = Truth(
            np.zeros((3, 4), np.float32),
            np.zeros(40, np.float32),
            np.zeros(10, np.float32),
            np.zeros(52, np.float32),
            np.zeros((len(self.points), 2), np.float32),
            np.zeros(3, np.float32),
            0.0,
        )
        return develop(image, SIZE, rng), none

    def _only_a_hand(
        self, look: Look, size: int, rng: np.random.Generator
    ) -> tuple[list[Surface], Camera]:
        moved = look.person.neutral
        hand = self._wardrobe.hand(look.person, moved, rng)
        middle = np.median(hand.vertices, axis=0).astype(np.float64)
        rotation = matrix_from_rotation_vector(rng.normal(0, 1.2, 3))
        pose = Pose(rotation, np.array([0.0, 0.0, 700.0]) - rotation @ middle)
        still = np.ones(len(hand.vertices), np.float32)
        placed = self._to_camera(hand.vertices, still, pose, np.eye(3))
        shift = size * (0.5 + rng.normal(0, 0.1, 2))
        focal = size * float(rng.uniform(2.5, 5.5))
        camera = Camera(focal, focal, float(shift[0]), float(shift[1]), size, size)
        return [replace(hand, vertices=placed)], camera

    def _cut_off(
        self, look: Look, size: int, rng: np.random.Generator
    ) -> tuple[list[Surface], Camera]:
        """A face of which at most a third is inside of the frame."""
        values = sample_expression(rng)
        pose = sample_pose(rng)
        face = self.expressed(look.person, values)[self.head.topology.landmarks]
        camera = crop_camera(face @ pose.rotation.T + pose.translation, size)
        angle = rng.uniform(0, 2 * np.pi)
        away = size * rng.uniform(0.62, 0.95) * np.array([np.cos(angle), np.sin(angle)])
        camera = replace(camera, cx=camera.cx + float(away[0]), cy=camera.cy + float(away[1]))
        return self.surfaces(look, values, pose, sample_body(pose, rng), rng), camera

    def _from_behind(
        self, look: Look, size: int, rng: np.random.Generator
    ) -> tuple[list[Surface], Camera]:
        person = replace(look.person, long_hair=float(rng.choice([0.3, 1])))
        angles = np.array([rng.uniform(135, 225), rng.normal(0, 15), rng.normal(0, 10)])
        pose = Pose(matrix_from_yaw_pitch_roll(angles), np.array([0.0, 0.0, 900.0]))
        body = sample_body(pose, rng)
        values = np.zeros(52, np.float32)
        surfaces = self.surfaces(replace(look, person=person), values, pose, body, rng)
        centre = pose.rotation @ [0.0, 20.0, 90.0] + pose.translation
        focal = size * float(rng.uniform(3.0, 6.0))
        middle = size / 2 - focal * centre[:2] / centre[2] + rng.normal(0, 0.12, 2) * size
        camera = Camera(focal, focal, float(middle[0]), float(middle[1]), size, size)
        return surfaces, camera
