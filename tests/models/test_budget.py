"""Trainings without an end are refused."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from mien.models.avatar.train_config import AvatarTrainConfig
from mien.models.detector.train import DetectorTrainConfig
from mien.models.errors import InputError
from mien.models.pifuhd.train_config import PifuhdTrainConfig
from mien.models.portrait.fitting import FitOptions
from mien.models.regressor.train_config import TrainConfig

HERE = Path()
CONFIGS: list[tuple[str, Callable[..., Any]]] = [
    ("steps", lambda **k: AvatarTrainConfig(data=HERE, out=HERE, stage="autodecoder", **k)),
    ("images", lambda **k: DetectorTrainConfig(shards=HERE, out=HERE, **k)),
    ("steps", lambda **k: PifuhdTrainConfig(data=HERE, out=HERE, stage="coarse", **k)),
    ("steps", lambda **k: FitOptions(data=HERE, out=HERE, **k)),
    ("images", lambda **k: TrainConfig(shards=HERE, out=HERE, face_model=HERE, **k)),
]


@pytest.mark.parametrize(("unit", "config"), CONFIGS)
def test_a_budget_is_above_nothing(unit: str, config: Callable[..., Any]) -> None:
    config(**{unit: 1})
    config(minutes=0.5)
    with pytest.raises(InputError, match=f"needs a budget: a number of {unit}, of minutes, or"):
        config()
    for amount in (0, -5):
        with pytest.raises(InputError, match=f"above 0; {amount} {unit} given"):
            config(**{unit: amount})
    for minutes in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match=r"above 0; \S+ minutes given"):
            config(minutes=minutes, **{unit: 3})
