"""What can be said of a rendered portrait: its properties in words, and sentences of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from jaxtyping import Float, Float32

from ..face.names import BLENDSHAPE_INDEX
from ..synthetic.groups import typology_angle_deg
from . import sh
from .vocabulary import PHRASES, SLOTS, Description

if TYPE_CHECKING:
    from ..synthetic.person import Person

UNNAMED_EXPRESSION: Final = ""
_KEEP: Final = 0.65
"""How likely a sentence mentions a property."""
_SMILE, _OPEN = 0.35, 0.3


def person_words(person: Person) -> dict[str, str]:
    """What can be said of a person's face whatever they wear and do: values by slot."""
    identity = person.identity
    said = {
        "age": age_word(identity.age_years),
        "gender": "male" if identity.masculinity > 0.5 else "female",
        "skin": skin_word(person.skin),
    }
    if identity.masculinity >= 0.5 and identity.age_years >= 17:
        said["beard"] = beard_word(person.beard)
    return said


def age_word(years: float) -> str:
    """Value of the slot ``age``."""
    for limit, word in ((14.0, "child"), (34.0, "young"), (54.0, "middle-aged")):
        if years < limit:
            return word
    return "old"


def skin_word(skin_rgb: tuple[float, float, float]) -> str:
    """Value of the slot ``skin``, by the individual typology angle."""
    angle = float(typology_angle_deg(np.array([skin_rgb], np.float64))[0])
    return "light" if angle > 33.0 else "medium" if angle > -5.0 else "dark"


def hair_colour_word(hair_rgb: tuple[float, float, float]) -> str:
    """Value of the slot ``hair colour``."""
    pixel = np.array([[hair_rgb]], np.float32) / np.float32(255.0)
    hue, saturation, value = cv2.cvtColor(pixel, cv2.COLOR_RGB2HSV)[0, 0].tolist()
    if value < 0.24:
        return "black"
    if saturation < 0.2:
        return "white" if value > 0.72 else "grey" if value > 0.33 else "black"
    if value > 0.52:
        return "blond"
    return "red" if saturation > 0.66 and hue < 28.0 and value > 0.36 else "brown"


def hair_length_word(lowest_mm: float | None) -> str:
    """Value of the slot ``hair length``: by how far hair hangs below the eyes; None: no hair."""
    if lowest_mm is None:
        return "bald"
    return "short" if lowest_mm < 75.0 else "medium" if lowest_mm < 135.0 else "long"


def beard_word(beard: float) -> str:
    """Value of the slot ``beard``."""
    return "none" if beard < 0.1 else "stubble" if beard < 0.45 else "beard"


def expression_word(values: Float32[np.ndarray, " 52"]) -> str:
    """Value of the slot ``expression``, or :data:`UNNAMED_EXPRESSION` of what has no word."""

    def mean(stem: str) -> float:
        names = [n for n in (stem, stem + "Left", stem + "Right") if n in BLENDSHAPE_INDEX]
        return float(np.mean([values[BLENDSHAPE_INDEX[name]] for name in names]))

    jaw, smile = mean("jawOpen"), mean("mouthSmile")
    raised = (mean("browInnerUp") + mean("browOuterUp")) / 2
    checks = (
        ("laughing", smile > _SMILE and (jaw > 0.2 or mean("mouthUpperUp") > 0.25)),
        ("smiling", smile > _SMILE),
        ("surprised", raised > 0.4 and mean("eyeWide") > 0.25),
        ("angry", mean("browDown") > 0.4 and jaw < 0.6),
        ("pouting", mean("mouthPucker") + mean("mouthFunnel") > 0.5),
        ("sad", mean("mouthFrown") > 0.35),
        ("mouth open", jaw > _OPEN),
    )
    for word, holds in checks:
        if holds:
            return word
    lively = [i for name, i in BLENDSHAPE_INDEX.items() if not name.startswith("eye")]
    return "neutral" if values[lively].max() < 0.3 else UNNAMED_EXPRESSION


def eyes_word(values: Float32[np.ndarray, " 52"]) -> str:
    """Value of the slot ``eyes``; one open eye counts as open."""
    lids = [float(values[BLENDSHAPE_INDEX["eyeBlink" + side]]) for side in ("Left", "Right")]
    return "closed" if min(lids) > 0.6 else "open"


def light_word(light: Float[np.ndarray, " 9"]) -> str:
    """Value of the slot ``light`` of nine numbers in a view's (or the frontal world's) axes."""
    first = np.asarray(light, np.float64)[[3, 1, 2]]
    if np.linalg.norm(first) < 0.38 * max(float(light[0]), 1e-6):
        return "even"
    names = list(sh.NAMED_DIRECTIONS)
    ways = np.array([sh.NAMED_DIRECTIONS[name] for name in names])
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    return names[int((ways @ first).argmax())]


def light_colour_word(light_rgb: Float[np.ndarray, "9 3"]) -> str:
    """Value of the slot ``light colour``."""
    red, _, blue = light_rgb[0]
    ratio = float(red / max(blue, 1e-6))
    return "warm" if ratio > 1.25 else "cool" if ratio < 0.8 else "neutral"


def brightness_word(light: Float[np.ndarray, " 9"]) -> str:
    """Value of the slot ``brightness``."""
    level = float(sh.level(light))
    return "dim" if level < 0.42 else "bright" if level > 1.05 else "medium"


def view_words(yaw_rad: float, pitch_rad: float) -> dict[str, str]:
    """Values of the slots ``view`` and ``height`` of a camera at this azimuth and height."""
    yaw, pitch = np.degrees(yaw_rad), np.degrees(pitch_rad)
    side = "left" if yaw > 0 else "right"
    away = abs(yaw)
    view = "front" if away < 13 else f"facing {side}" if away < 42 else f"profile {side}"
    return {"view": view, "height": "above" if pitch > 9 else "below" if pitch < -9 else "level"}


def plain(said: Description) -> str:
    """All of a description's properties, each by its first phrase; ``parse`` gives them back."""
    values = said.properties
    return ", ".join(PHRASES[slot, values[slot]][0] for slot in SLOTS if slot in values)


def sentence(said: Description, rng: np.random.Generator) -> str:
    """A sentence that mentions some of a description's properties, in varied words.

    ``parse`` of it gives back properties of the description, none else.
    """
    p = {slot: said.properties[slot] for slot in SLOTS if slot in said.properties}
    kept = {slot for slot in p if rng.random() < _KEEP} | ({"gender"} & p.keys())

    def phrase(slot: str) -> str:
        phrases = PHRASES[slot, p[slot]]
        return str(phrases[0] if rng.random() < 0.6 else phrases[rng.integers(len(phrases))])

    parts = [_subject(p, kept, rng)]
    middle = [slot for slot in _MIDDLE if slot in kept and (slot, p[slot]) not in _UNSAID]
    parts += [phrase(slot) for slot in rng.permutation(middle).tolist()]
    text = ", ".join(parts)
    return text[0].upper() + text[1:] if rng.random() < 0.2 else text


_MIDDLE: Final = tuple(slot for slot in SLOTS if slot not in ("age", "gender"))
_UNSAID: Final = frozenset(
    {("light colour", "neutral"), ("brightness", "medium"), ("height", "level"), ("eyes", "open")}
)
"""What nobody mentions."""


def _subject(p: dict[str, str], kept: set[str], rng: np.random.Generator) -> str:
    if "gender" not in p:
        return "a person" if "age" not in kept else f"a {PHRASES['age', p['age']][0]} person"
    child = p.get("age") == "child" and "age" in kept
    if child and rng.random() < 0.7:
        return "a boy" if p["gender"] == "male" else "a girl"
    noun = str(PHRASES["gender", p["gender"]][0])
    if "age" not in kept:
        return f"a {noun}"
    age = str(PHRASES["age", p["age"]][int(rng.integers(2))])
    return f"{'an' if age[0] in 'aeiou' else 'a'} {age} {noun}"
