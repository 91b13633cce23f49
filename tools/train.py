"""``mien train``: fits a network to rendered pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import subcommand

from .train_avatar import TrainAvatar
from .train_detector import TrainDetector
from .train_pifuhd import TrainPifuhd
from .train_portrait import TrainPortrait
from .train_regressor import TrainRegressor


@dataclass(frozen=True)
class Train:
    """Train a network on rendered pictures (needs torch: mien[train])."""

    what: (
        Annotated[TrainRegressor, subcommand("regressor", prefix_name=False)]
        | Annotated[TrainDetector, subcommand("detector", prefix_name=False)]
        | Annotated[TrainPifuhd, subcommand("pifuhd", prefix_name=False)]
        | Annotated[TrainAvatar, subcommand("avatar", prefix_name=False)]
        | Annotated[TrainPortrait, subcommand("portrait", prefix_name=False)]
    )

    def run(self) -> int:
        """Train, and print what it came to."""
        return self.what.run()
