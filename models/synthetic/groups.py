"""Groups of people and pictures by which errors are told apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from ..face.names import BLENDSHAPE_INDEX
from .evaluation import PeopleTable

Group = np.ndarray
"""(n,) of str: the group of each picture."""

SKIN_TONES: Final = (
    (55.0, "very light"),
    (41.0, "light"),
    (28.0, "intermediate"),
    (10.0, "tan"),
    (-30.0, "brown"),
)
"""Lower ends of the individual typology angle, degrees (Del Bino and Bernerd 2013); else dark."""
_AGES: Final = ((3.0, "3 to 8"), (9.0, "9 to 15"), (16.0, "16 to 34"), (35.0, "35 to 54"))
_OLDEST: Final = "55 to 85"
_ANCESTRIES: Final = ("African", "Asian", "Caucasian")
_ORDER: Final = (
    *(name for _, name in SKIN_TONES), *(name for _, name in _AGES), _OLDEST,
    "female", "between", "male", "with", "without", "none or stubble", "full", "neutral", "smile",
    "mouth open", "both eyes closed", "one eye closed", "other", "soft", "dark", "medium", "crisp",
    "bright", "as rendered",
)  # fmt: skip


def in_order(names: Iterable[str]) -> list[str]:
    """Names of groups as people would list them; unknown ones last, by name."""
    place = {name: i for i, name in enumerate(_ORDER)}
    return sorted(set(names), key=lambda name: (place.get(name, len(_ORDER)), name))


def typology_angle_deg(skin_rgb: Float[np.ndarray, "n 3"]) -> Float32[np.ndarray, " n"]:
    """Individual typology angle ``atan((L* - 50) / b*)`` of sRGB colours of 0 to 255, degrees."""
    pixels = np.ascontiguousarray(skin_rgb[None] / 255.0, dtype=np.float32)
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[0]
    return np.degrees(np.arctan2(lab[:, 0] - 50.0, np.maximum(lab[:, 2], 1e-3))).astype(np.float32)


def skin_tones(skin_rgb: Float[np.ndarray, "n 3"]) -> Group:
    """Class of each skin colour by its typology angle, from very light to dark."""
    angle = typology_angle_deg(skin_rgb)
    bounds, names = zip(*SKIN_TONES, strict=True)
    return np.select([angle > bound for bound in bounds], list(names), default="dark")


def ages(years: Float[np.ndarray, " n"]) -> Group:
    """Age group."""
    upper = [lower for lower, _ in _AGES[1:]] + [55.0]
    return np.select([years < end for end in upper], [name for _, name in _AGES], default=_OLDEST)


def expression_classes(blendshapes: Float[np.ndarray, "n 52"]) -> Group:
    """What the face does most visibly."""

    def value(name: str) -> np.ndarray:
        return blendshapes[:, BLENDSHAPE_INDEX[name]]

    left, right = value("eyeBlinkLeft"), value("eyeBlinkRight")
    rest = [i for name, i in BLENDSHAPE_INDEX.items() if not name.startswith("eye")]
    conditions = [
        (np.minimum(left, right) >= 0.5, "both eyes closed"),
        (np.maximum(left, right) >= 0.5, "one eye closed"),
        (value("jawOpen") >= 0.35, "mouth open"),
        (np.minimum(value("mouthSmileLeft"), value("mouthSmileRight")) >= 0.4, "smile"),
        (blendshapes[:, rest].max(axis=1) < 0.25, "neutral"),
    ]
    masks, names = zip(*conditions, strict=True)
    return np.select(list(masks), list(names), default="other")


def image_qualities(crops_bgr: UInt8[np.ndarray, "n S S 3"]) -> Mapping[str, Group]:
    """Light and sharpness of the middle of each picture, each in three parts.

    Light is the mean grey value (dark below 60, bright above 150 of 255). Sharpness is the
    deviation of the Laplacian in shares of that of the grey values, by terciles of the set.
    """
    quarter = crops_bgr.shape[1] // 4
    middle = crops_bgr[:, quarter:-quarter, quarter:-quarter]
    light, sharp = np.empty(len(middle)), np.empty(len(middle))
    for i, crop in enumerate(middle):
        grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_BGR2GRAY)
        light[i] = grey.mean()
        sharp[i] = cv2.Laplacian(grey, cv2.CV_32F).std() / max(float(grey.std()), 1.0)
    low, high = np.quantile(sharp, [1 / 3, 2 / 3]) if len(sharp) else (0.0, 0.0)
    return {
        "light": np.select([light < 60, light > 150], ["dark", "bright"], default="medium"),
        "sharpness": np.select([sharp < low, sharp > high], ["soft", "crisp"], default="medium"),
    }


def people_groups(people: PeopleTable) -> Mapping[str, Group]:
    """Groups by who is in the picture."""
    masculinity = people.masculinity
    return {
        "skin tone": skin_tones(people.skin),
        "age": ages(people.age_years),
        "gender": np.select(
            [masculinity < 1 / 3, masculinity > 2 / 3], ["female", "male"], default="between"
        ),
        "ancestry (largest share)": np.array(_ANCESTRIES)[people.ancestry.argmax(axis=1)],
        "glasses": np.where(people.glasses, "with", "without"),
        "held before the face": np.where(people.covered, "a hand or thing", "nothing"),
        "beard": np.where(people.beard > 0.5, "full", "none or stubble"),
    }
