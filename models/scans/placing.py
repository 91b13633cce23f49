"""Where the vertices of a closed head lie with an expression: eyes filled, the mouth a cavity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float32, Int32

_BALL_SHARE: Final = 0.985
_CLOSED_MM, _OPEN_MM = 1.6, 7.0
"""Gaps of the lips between which the cavity opens; the closed lips of the mesh are 1.2 mm apart."""
_SHALLOWEST_MM, _DEEPEST_MM, _DEPTH_PER_GAP = 10.0, 55.0, 1.5
"""Depth of the cavity behind the lips: what can be seen through a narrow gap is not deep."""
_INTO_GUM_MM: Final = 3.0
_WIDTH_SHARE: Final = 0.92
_ARRAYS: Final = ("loop", "inner", "weights")


@dataclass(frozen=True)
class Membrane:
    """Vertices that a loop carries.

    Attributes:
        loop: the loop's vertices.
        inner: those that are carried.
        weights: of the loop's vertices for each of them; they sum to 1.
    """

    loop: Int32[np.ndarray, " L"]
    inner: Int32[np.ndarray, " K"]
    weights: Float32[np.ndarray, "K L"]

    def spanned(self, vertices: Float32[np.ndarray, "V 3"]) -> Float32[np.ndarray, "K 3"]:
        """Places of the inner vertices as the loop carries them."""
        return self.weights @ vertices[self.loop]


@dataclass(frozen=True)
class HeadPlacer:
    """Places the vertices of a closed head.

    Attributes:
        right_eye, left_eye, mouth: skin within the loops of lids and lips.
        balls: vertices of the right and the left eyeball.
        lips: three vertices of the upper lip's inside, then the three of the lower one below them.
        gums: vertices of the front edge of the upper and of the lower teeth at the gum.
    """

    right_eye: Membrane
    left_eye: Membrane
    mouth: Membrane
    balls: tuple[Int32[np.ndarray, " _"], Int32[np.ndarray, " _"]]
    lips: Int32[np.ndarray, " 6"]
    gums: tuple[Int32[np.ndarray, " _"], Int32[np.ndarray, " _"]]

    def opening_mm(self, vertices: Float32[np.ndarray, "V 3"]) -> float:
        """Largest gap between the lips at three places, mm."""
        upper, lower = vertices[self.lips[:3]], vertices[self.lips[3:]]
        return float((lower - upper)[:, 1].max())

    def placed(
        self, moved: Float32[np.ndarray, "V 3"], neutral: Float32[np.ndarray, "V 3"]
    ) -> Float32[np.ndarray, "V 3"]:
        """Vertices of the closed head.

        Args:
            moved: (V, 3) the head with an expression, head frame, mm.
            neutral: (V, 3) the same head without, which holds the eyeballs.
        """
        vertices = moved.copy()
        for eye, ball in zip((self.right_eye, self.left_eye), self.eyeballs(neutral), strict=True):
            centre, radius = ball
            away = eye.spanned(moved) - centre
            length = np.linalg.norm(away, axis=1, keepdims=True)
            vertices[eye.inner] = centre + away * np.maximum(radius / np.maximum(length, 1e-6), 1)
        vertices[self.mouth.inner] = self._cavity(moved)
        return vertices

    def eyeballs(
        self, neutral: Float32[np.ndarray, "V 3"]
    ) -> list[tuple[Float32[np.ndarray, " 3"], float]]:
        """Centre and radius of the right and the left eyeball, mm."""
        found = []
        for ball in self.balls:
            points = neutral[ball]
            centre = (points.max(0) + points.min(0)) / 2
            radius = float(np.linalg.norm(points - centre, axis=1).max())
            found.append((centre, _BALL_SHARE * radius))
        return found

    def _cavity(self, moved: Float32[np.ndarray, "V 3"]) -> Float32[np.ndarray, "K 3"]:
        """The bag behind the lips: flat between closed ones, up to the gums behind open ones."""
        flat = self.mouth.spanned(moved)
        gap = self.opening_mm(moved)
        share = np.clip((gap - _CLOSED_MM) / (_OPEN_MM - _CLOSED_MM), 0, 1)
        if share == 0:
            return flat
        share = share * share * (3 - 2 * share)
        bag = moved[self.mouth.inner].copy()
        roof = moved[self.gums[0], 1].mean() + _INTO_GUM_MM
        floor = moved[self.gums[1], 1].mean() - _INTO_GUM_MM
        bag[:, 1] = np.clip(bag[:, 1], roof, max(floor, roof + 1.0))
        # No wider than the lips, and measured from them: it must not pierce the cheeks.
        wide = moved[self.mouth.loop, 0]
        middle = (wide.max() + wide.min()) / 2
        reach = _WIDTH_SHARE * (wide.max() - wide.min()) / 2
        bag[:, 0] = np.clip(bag[:, 0], middle - reach, middle + reach)
        depth = min(_SHALLOWEST_MM + _DEPTH_PER_GAP * gap, _DEEPEST_MM)
        deep = np.maximum(bag[:, 2] - flat[:, 2], 0)
        bag[:, 2] = np.minimum(bag[:, 2], flat[:, 2]) + depth * np.tanh(deep / depth)
        return flat + np.float32(share) * (bag - flat)

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything, by name; :meth:`of_arrays` takes it back."""
        membranes = {"right_eye": self.right_eye, "left_eye": self.left_eye, "mouth": self.mouth}
        return {
            **{f"{n}.{a}": getattr(m, a) for n, m in membranes.items() for a in _ARRAYS},
            **{f"balls.{k}": ball for k, ball in enumerate(self.balls)},
            **{f"gums.{k}": gum for k, gum in enumerate(self.gums)},
            "lips": self.lips,
        }

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> HeadPlacer:
        """What :meth:`arrays` gave.

        Raises:
            KeyError: one is missing.
        """
        right, left, mouth = (
            Membrane(*(arrays[f"{name}.{a}"] for a in _ARRAYS))
            for name in ("right_eye", "left_eye", "mouth")
        )
        return cls(
            right, left, mouth,
            balls=(arrays["balls.0"], arrays["balls.1"]),
            lips=arrays["lips"],
            gums=(arrays["gums.0"], arrays["gums.1"]),
        )  # fmt: skip
