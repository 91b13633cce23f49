"""People and their looks for the portraits: who keeps hair and beard, what changes by look."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Float64

from ..face.camera import Camera
from ..face.eg3d_camera import FOCAL, LOOK_AT, StandardFace, camera_to_world, side_label
from ..face.rotation import FLIP, matrix_from_yaw_pitch_roll
from ..makehuman.build import HeadModel
from ..makehuman.expression import sample_expression
from ..render.raster import vertex_normals
from ..render.surface import Lamp, Lights, Surface
from ..synthetic.accessories import Outfit, Wardrobe
from ..synthetic.framing import Pose
from ..synthetic.glasses import make_glasses
from ..synthetic.hair import HairMaker
from ..synthetic.hats import HIDES_HAIR, beanie, cap
from ..synthetic.person import Person
from ..synthetic.scene import Look, Studio
from . import captions, sh

_GLASSES, _HAT = 0.28, 0.13
_EXPRESSIONS = (
    ("neutral", 0.28), ("smiling", 0.2), ("laughing", 0.14), ("mouth open", 0.07),
    ("surprised", 0.07), ("angry", 0.07), ("sad", 0.07), ("pouting", 0.05),
    (captions.UNNAMED_EXPRESSION, 0.05),
)  # fmt: skip
_LIGHTS = (
    ("left", 0.2), ("right", 0.2), ("above", 0.15), ("below", 0.08), ("front", 0.15),
    ("back", 0.05), ("even", 0.17),
)  # fmt: skip
_LAMP_SHARE = 0.5
_MOST_DRAWS = 80
_LOOK_AT_SPREAD = 0.006


@dataclass(frozen=True)
class WorldLight:
    """The light of a look, WORLD axes.

    Attributes:
        ambient: (9, 3) order-2 harmonics (:mod:`.sh`), linear RGB.
        lamp: one lamp beside it, its ``direction`` in the world; None in purely harmonic looks.
    """

    ambient: Float64[np.ndarray, "9 3"]
    lamp: Lamp | None

    @property
    def whole(self) -> Float64[np.ndarray, "9 3"]:
        """Harmonics of all of it: the lamp's projection (without its shadows) is added."""
        if self.lamp is None:
            return self.ambient
        direction = np.asarray(self.lamp.direction, np.float64)
        return self.ambient + sh.light_of_lamp(direction)[:, None] * self.lamp.colour

    @property
    def luminance(self) -> Float64[np.ndarray, " 9"]:
        """Nine numbers of luminance of the whole."""
        return self.whole @ sh.LUMINANCE

    def in_camera(self, label: Float[np.ndarray, " 25"]) -> Lights:
        """As the renderer takes it, in the axes of a label's camera (OpenCV's)."""
        turn = camera_to_world(label)[:3, :3].T
        ambient = sh.ambient_of_light(sh.rotation_of_coefficients(turn) @ self.ambient)
        lamps = ()
        if self.lamp is not None:
            lamps = (replace(self.lamp, direction=turn @ self.lamp.direction),)
        return Lights(ambient.astype(np.float32), lamps, shadow_size=160)


def sample_light(rng: np.random.Generator) -> WorldLight:
    """Purely harmonic light, or harmonic light and a lamp; from a named side more often than not.

    The mean shading of what is turned to the frontal camera is 0.3 to 1.3.
    """
    names, chances = zip(*_LIGHTS, strict=True)
    name = names[rng.choice(len(names), p=chances)]
    even = sh.named_light("even") / sh.EVEN_LEVEL
    tint = _tint(rng)
    if name == "even":
        way = rng.normal(0, 1, 3)
        share = rng.uniform(0.85, 1.0)
    else:
        way = np.array(sh.NAMED_DIRECTIONS[name]) + rng.normal(0, 0.22, 3)
        share = rng.uniform(0.05, 0.5)
    from_above = sh.light_of_lamp(np.array([0.0, 1.0, 0.0]), float(rng.uniform(0, 0.25)))
    ambient = share * (even + from_above)[:, None] * _tint(rng)
    lamp = None
    if rng.random() < _LAMP_SHARE:
        lamp = Lamp(
            way, (1 - share) * 1.3 * tint, casts_shadow=True,
            softness_mm=float(rng.uniform(2, 10)),
        )  # fmt: skip
    else:
        ambient = ambient + sh.light_of_lamp(way, (1 - share) * 1.3)[:, None] * tint
        if rng.random() < 0.4:
            beside = sh.light_of_lamp(rng.normal(0, 1, 3), float(rng.uniform(0, 0.35)))
            ambient = ambient + beside[:, None] * _tint(rng)
    light = WorldLight(ambient, lamp)
    wanted = float(np.clip(np.exp(rng.normal(np.log(0.72), 0.36)), 0.3, 1.3))
    gain = wanted / max(float(sh.level(light.luminance)), 0.3 * wanted)
    if lamp is not None:
        lamp = replace(lamp, colour=lamp.colour * gain)
    return WorldLight(ambient * gain, lamp)


def _tint(rng: np.random.Generator) -> Float64[np.ndarray, " 3"]:
    """Of luminance 1: mostly near white, at times from tungsten to blue."""
    warm = rng.normal(0, 0.06) if rng.random() < 0.7 else rng.normal(0, 0.28)
    tint = np.clip(np.array([1 + warm, 1.0, 1 - warm]), 0.3, 1.8)
    return tint / float(tint @ sh.LUMINANCE)


class _PersonsHair(HairMaker):
    """Grows the same hair and beard on a person in every look, and remembers how long it is."""

    key: tuple[int, ...] = (0,)
    lowest_mm: float | None = None

    def hair(
        self, person: Person, rng: np.random.Generator, down: Float[np.ndarray, " 3"] | None = None
    ) -> list[Surface]:
        own = np.random.default_rng([*self.key, 1])
        made = super().hair(person, own, np.array([0.0, 1.0, 0.0]))
        lows = [float(np.percentile(surface.vertices[:, 1], 96)) for surface in made]
        self.lowest_mm = max(lows, default=None)
        return made

    def beard(self, person: Person, rng: np.random.Generator) -> list[Surface]:
        return super().beard(person, np.random.default_rng([*self.key, 2]))


class _LooksWardrobe(Wardrobe):
    """Glasses and hats by look; nothing is held before the face."""

    key: tuple[int, ...] = (0,)
    glasses = "none"
    hat = "none"
    hides_hair = False

    def dress(
        self, person: Person, moved: Float32[np.ndarray, "V 3"], rng: np.random.Generator
    ) -> Outfit:
        own = np.random.default_rng([*self.key, 3])
        worn: list[Surface] = []
        self.glasses, self.hat, self.hides_hair = "none", "none", False
        adult = person.identity.age_years > 13
        if own.random() < (_GLASSES if adult else 0.5 * _GLASSES):
            made = make_glasses(person.neutral[self._landmarks], own)
            dark = max(float(s.alpha.mean()) for s in made if s.clear_coat and s.alpha is not None)
            self.glasses = "sunglasses" if dark > 0.45 else "glasses"
            worn += made
        if own.random() < _HAT:
            make = cap if own.random() < 0.55 else beanie
            worn += make(self._map.measure(moved), own)
            self.hat, self.hides_hair = "hat", bool(own.random() < HIDES_HAIR[make])
        return Outfit(worn, [], self.hides_hair)


@dataclass(frozen=True)
class Dressed:
    """A person with an expression and what they wear, ready to be seen from anywhere.

    Attributes:
        surfaces: head frame, mm.
        blendshapes: (52,).
        properties: slots of the vocabulary that hold from every side and in every light.
    """

    surfaces: list[Surface]
    blendshapes: Float32[np.ndarray, " 52"]
    properties: dict[str, str]


class PortraitStudio(Studio):
    """Renders people from labelled cameras.

    Args:
        head: the head model.
        assets: folder with CC0 hair meshes, or None: procedural hair.
    """

    def __init__(self, head: HeadModel, assets: Path | None = None) -> None:
        super().__init__(head)
        self._wardrobe = self._own_wardrobe = _LooksWardrobe(head, self.reference)
        self._hair = self._own_hair = _PersonsHair(head.topology, self.reference, assets)
        self.standard = StandardFace.of(head.model)

    def sample_person(self, rng: np.random.Generator) -> Look:
        """Draw somebody who is clearly a man or a woman, a boy or a girl; paint their skin."""
        person = self.people.sample(rng)
        while 0.3 < person.identity.masculinity < 0.7:
            person = self.people.sample(rng)
        male, adult = person.identity.masculinity > 0.5, person.identity.age_years > 17
        lengths = ((0.0, 0.3, 1.0), (0.2, 0.7, 0.1) if male else (0.03, 0.27, 0.7))
        beard = 0.0
        if male and adult:
            kind = rng.random()
            beard = float(rng.uniform(0.15, 0.4) if kind < 0.25 else rng.uniform(0.65, 1.0))
            beard = 0.0 if kind > 0.55 else beard
        person = replace(
            person,
            beard=beard,
            long_hair=float(rng.choice(lengths[0], p=lengths[1])),
            makeup=0.0 if male else person.makeup,
        )
        return Look(person, self._painter.paint(person, rng))

    def dress(self, look: Look, key: tuple[int, ...], number: int) -> Dressed:
        """A look of a person: the same for the same arguments.

        Args:
            look: who.
            key: of the person's random state.
            number: of the look.
        """
        rng = np.random.default_rng([*key, 7, number])
        values = _expression(rng)
        body = matrix_from_yaw_pitch_roll(rng.normal(0, (4.0, 2.0, 2.0)))
        self._own_hair.key, self._own_wardrobe.key = key, (*key, number)
        self._own_hair.lowest_mm = None
        still = Pose(np.eye(3), np.zeros(3))
        surfaces = self.surfaces(look, values, still, body, np.random.default_rng([*key, 5]))
        return Dressed(
            surfaces=[
                replace(s, normals=vertex_normals(s.vertices, s.triangles))
                if s.normals is None
                else s
                for s in surfaces
            ],
            blendshapes=values,
            properties=self._properties(look.person, values),
        )

    def _properties(self, person: Person, values: Float32[np.ndarray, " 52"]) -> dict[str, str]:
        wardrobe = self._own_wardrobe
        said = {
            **captions.person_words(person),
            "glasses": wardrobe.glasses,
            "hat": wardrobe.hat,
            "expression": captions.expression_word(values),
            "eyes": captions.eyes_word(values),
        }
        if said["expression"] == captions.UNNAMED_EXPRESSION:
            del said["expression"]
        if wardrobe.glasses == "sunglasses":
            del said["eyes"]
        if not wardrobe.hides_hair:
            said["hair length"] = captions.hair_length_word(self._own_hair.lowest_mm)
            if said["hair length"] != "bald":
                said["hair colour"] = captions.hair_colour_word(person.hair)
        return said

    def placed(self, dressed: Dressed, label: Float[np.ndarray, " 25"]) -> list[Surface]:
        """The surfaces in the frame of a label's camera (OpenCV's axes), mm."""
        world_from_camera = camera_to_world(label)
        turn = world_from_camera[:3, :3].T @ FLIP
        origin = self.standard.world_from_head(np.zeros((1, 3)))[0]
        shift = world_from_camera[:3, :3].T @ (origin - world_from_camera[:3, 3])
        shift = shift / self.standard.units_a_mm
        turn32, shift32 = turn.T.astype(np.float32), shift.astype(np.float32)
        return [
            replace(
                surface,
                vertices=surface.vertices @ turn32 + shift32,
                normals=None if surface.normals is None else surface.normals @ turn32,
            )
            for surface in dressed.surfaces
        ]


def label_camera(size: int) -> Camera:
    """The pinhole of every label for pictures of this size."""
    middle = (size - 1) / 2
    return Camera(FOCAL * size, FOCAL * size, middle, middle, size, size)


def sample_label(rng: np.random.Generator, first: bool) -> Float64[np.ndarray, " 25"]:
    """A camera: azimuth to +-60 degrees, favouring +-35, height to +-20; the first near front."""
    if first:
        yaw = rng.normal(0, 7)
    else:
        yaw = rng.uniform(-35, 35) if rng.random() < 0.7 else rng.uniform(-60, 60)
    pitch, roll = np.clip(rng.normal(0, (8.5, 3.5)), -20, 20)
    x, y, z = (np.array(LOOK_AT) + rng.normal(0, _LOOK_AT_SPREAD, 3)).tolist()
    return side_label(np.radians(yaw), np.radians(pitch), (x, y, z), roll_rad=np.radians(roll))


def _expression(rng: np.random.Generator) -> Float32[np.ndarray, " 52"]:
    """Natural values of an expression that is drawn by its word."""
    words, chances = zip(*_EXPRESSIONS, strict=True)
    wanted = words[rng.choice(len(words), p=chances)]
    values = sample_expression(rng)
    for _ in range(_MOST_DRAWS):
        if captions.expression_word(values) == wanted:
            break
        values = sample_expression(rng)
    return values
