"""Which synthetic bodies :func:`.generate.synthesise_people` makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from .bodies import SIDE_SHARE, make_body
from .body_dresser import BodyDresser
from .generate import HeadsConfig
from .record import Meta, Subject

_MEAN_HEIGHT_MM = 1650.0


@dataclass(frozen=True)
class BodiesConfig(HeadsConfig):
    """What to make; ``assets`` may hold suits beside hair."""

    @property
    def meta(self) -> Meta:
        """Description of the folder."""
        return replace(super().meta, kind="bodies", cube_mm=SIDE_SHARE * _MEAN_HEIGHT_MM)

    @property
    def unit(self) -> str:
        """One subject, in words."""
        return "body"

    def maker(self) -> Callable[[int], Subject]:
        """What makes a subject of a number; slow to get, so once a process."""
        dresser = BodyDresser(self.head_model(), self.assets)
        return lambda number: make_body(dresser, self.rng(number), number, self.views, self.size)
