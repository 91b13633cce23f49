"""``mien train``: fits a network to rendered pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import subcommand

from .avatar import TrainAvatar
from .blendshapes import TrainBlendshapes
from .detector import TrainDetector
from .pifuhd import TrainPifuhd
from .portrait import TrainPortrait
from .regressor import TrainRegressor


@dataclass(frozen=True)
class Train:
    """Train a network on rendered pictures (needs torch: mien[train])."""

    what: (
        Annotated[TrainRegressor, subcommand("regressor", prefix_name=False)]
        | Annotated[TrainDetector, subcommand("detector", prefix_name=False)]
        | Annotated[TrainBlendshapes, subcommand("blendshapes", prefix_name=False)]
        | Annotated[TrainPifuhd, subcommand("pifuhd", prefix_name=False)]
        | Annotated[TrainAvatar, subcommand("avatar", prefix_name=False)]
        | Annotated[TrainPortrait, subcommand("portrait", prefix_name=False)]
    )

    def run(self) -> int:
        """Train, and print what it came to."""
        return self.what.run()
