"""What an edit is made of: options, what is wanted, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from ..errors import InputError
from .cameras import SIDE_SPREAD_RAD
from .generator import Generator, Planes, Rendering
from .limits import MOST_STRENGTH
from .losses import Weights
from .sds import SMALL_GUIDANCE
from .vocabulary import Description

Space = Literal["code", "planes"]
Stage = Literal["invert", "edit", "tune"]
Terms = dict[str, float]
Report = Callable[[Stage, int, int, Terms], object]
"""Told the stage, steps done in it, steps of it, and the terms."""


@dataclass(frozen=True)
class EditOptions:
    """How an edit is made.

    Attributes:
        invert_steps: of the first stage.
        steps: of the edit.
        tuning_steps: of the last stage; 0 leaves it out.
        learning_rate: of the code, in deviations of the codes' cloud.
        worded_reach: all steps' rates together, likewise, where the edit begins with what the words
            are known to add: it has arrived but for details, and a longer way would leave again.
        planes_rate: of the planes, in their deviation, where they are what moves.
        tuning_rate: of the weights.
        weights: of the terms.
        guidance: of the distillation.
        t_range: shares of its schedule.
        last_high: upper end of the range at the end.
        spread_rad: most yaw and pitch of the side cameras.
        space: ``code``, or free ``planes`` without a code (as DreamFusion has no generator).
        known_light: begin from the pivot with what the generator says the wanted light adds to a
            code, where it says so.
        known_words: the same of the words, where what they add to codes is known.
        strength: of the words at the beginning; at 1 they go as far as shows them best.
        balance_every: steps between two measurements of gradients.
        seed: of everything random.
    """

    invert_steps: int = 300
    steps: int = 300
    tuning_steps: int = 80
    learning_rate: float = 0.01
    worded_reach: float = 0.5
    planes_rate: float = 0.02
    tuning_rate: float = 5e-4
    weights: Weights = field(default_factory=Weights)
    guidance: float = SMALL_GUIDANCE
    t_range: tuple[float, float] = (0.02, 0.98)
    last_high: float = 0.5
    spread_rad: float = SIDE_SPREAD_RAD
    space: Space = "code"
    known_light: bool = True
    known_words: bool = True
    strength: float = 1.0
    balance_every: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.invert_steps, self.steps, self.balance_every) < 1 or self.tuning_steps < 0:
            raise InputError("edit: steps must be 1 or more (tuning steps 0 or more)")
        if min(self.learning_rate, self.worded_reach, self.planes_rate, self.tuning_rate) <= 0:
            raise InputError("edit: rates must be positive")
        if not 0 <= self.strength <= MOST_STRENGTH:
            raise InputError(f"edit: strength is {self.strength}, expected 0 to {MOST_STRENGTH:g}")

    def table(self) -> dict[str, Any]:
        """As plain containers."""
        return {**asdict(self), "t_range": list(self.t_range)}


@dataclass(frozen=True)
class Wish:
    """What is wanted of which picture.

    Attributes:
        image: the input's crop, RGB, -1 to 1, over black, of the generator's size.
        mask: where it is to be believed, 0 to 1.
        label: its camera.
        condition: the prior's, of the sentence; None: no sentence.
        light: nine coefficients, axes of the world; None: as it is.
        said: the sentence's properties, where it is of the vocabulary.
    """

    image: Float[torch.Tensor, "1 3 S S"]
    mask: Float[torch.Tensor, "1 1 S S"]
    label: Float[np.ndarray, " 25"]
    condition: Any
    light: Float[np.ndarray, " 9"] | None
    said: Description | None = None

    def table(self) -> dict[str, Any]:
        """What an edit's state must agree on, as tensors and plain containers."""
        return {
            "image": self.image.cpu(),
            "label": np.asarray(self.label, np.float64).tolist(),
            "condition": self.condition.cpu() if isinstance(self.condition, torch.Tensor) else None,
            "light": None if self.light is None else np.asarray(self.light).tolist(),
            "said": None if self.said is None else dict(self.said.properties),
        }

    def is_of(self, table: dict[str, Any]) -> bool:
        """Whether a table is this wish's."""
        own = self.table()
        return own.keys() == table.keys() and all(
            torch.equal(value, table[name])
            if isinstance(value, torch.Tensor) and isinstance(table[name], torch.Tensor)
            else type(value) is type(table[name]) and value == table[name]
            for name, value in own.items()
        )


class Portrait(NamedTuple):
    """A head that can be seen from anywhere.

    Attributes:
        generator: draws it.
        planes: of it.
        ws: its codes.
    """

    generator: Generator
    planes: Planes
    ws: Float[torch.Tensor, "1 l w"]

    @torch.no_grad()
    def seen(self, labels: Float[np.ndarray, "v 25"]) -> Rendering:
        """Pictures from cameras."""
        cameras = torch.from_numpy(np.asarray(labels, np.float32)).to(self.ws.device)
        return self.generator.render(self.planes, cameras)


class Edit(NamedTuple):
    """What came of it.

    Attributes:
        before: the input as a head, with the weights that were given.
        tuned: the same with the tuned weights.
        after: the edited head.
        history: terms of every step of edit and tuning.
    """

    before: Portrait
    tuned: Portrait
    after: Portrait
    history: tuple[Terms, ...]
