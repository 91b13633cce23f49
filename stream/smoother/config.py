"""Settings of the smoother: three presets, or a TOML file with the same names."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path

from ...models.errors import InputError


@dataclass(frozen=True)
class SmoothingConfig:
    """How much is believed to change by itself, and how much of a measurement is noise.

    A channel moves with a velocity that white noise pushes about; ``*_process`` are the densities
    of that noise, in unit^2/s^3. Large ones follow faster, small ones keep stiller.

    Attributes:
        publish_raw: publish measurements as they are; the filters only bridge gaps.
        rotation_process: rad^2/s^3.
        direction_process: of the direction to the head (x/z and y/z), 1/s^3.
        log_depth_process: of the logarithm of the distance, 1/s^3.
        expression_process: of the ten expression components, sd^2/s^3.
        blendshape_process: of the 52 blendshapes, 1/s^3.
        eye_process: of the 14 blendshapes of the lids and the gaze, 1/s^3: a blink lasts 100 ms.
        identity_process: of the 40 shape components, which do not move: sd^2/s.
        blendshape_sd: standard deviation of a measured blendshape; the network states none.
        rotation_variance_scale: what the network's variance of the rotation is multiplied with.
        translation_variance_scale: the same for position and scale.
        correlated_share: share of a measurement's variance that stays the same from frame to frame,
            so that averaging does not remove it; it is published, not filtered.
        gate: normalised innovation squared from which a channel is taken to have moved.
        coast_decay_s: time in which a velocity dies down while the face is not seen.
        head_scale_sd: relative standard deviation of the size of heads about the model's.
    """

    publish_raw: bool = False
    rotation_process: float = 5.0
    direction_process: float = 0.05
    log_depth_process: float = 0.1
    expression_process: float = 2000.0
    blendshape_process: float = 100.0
    eye_process: float = 3000.0
    identity_process: float = 0.001
    blendshape_sd: float = 0.05
    rotation_variance_scale: float = 1.0
    translation_variance_scale: float = 1.0
    correlated_share: float = 0.7
    gate: float = 9.0
    coast_decay_s: float = 0.15
    head_scale_sd: float = 0.045

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "publish_raw" and not (value > 0.0 and math.isfinite(value)):
                raise InputError(f"smoothing: {field.name} must be positive, got {value}")
        if self.correlated_share >= 1.0:
            raise InputError(
                f"smoothing: correlated_share must be below 1, got {self.correlated_share}"
            )

    @classmethod
    def load(cls, path: Path) -> SmoothingConfig:
        """Read a TOML file; what it does not name is as in ``responsive``, or its ``preset``.

        Raises:
            InputError: the file cannot be read, names an unknown setting, or a value is impossible.
        """
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not a smoothing file in TOML: {error}") from error
        base = table.pop("preset", "responsive")
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(table) - known)
        if unknown or base not in PRESETS:
            wrong = f"preset {base!r}" if base not in PRESETS else ", ".join(unknown)
            raise InputError(
                f"{path}: unknown {wrong}; presets are {', '.join(PRESETS)}, settings are "
                f"{', '.join(sorted(known))}"
            )
        for name, value in table.items():
            wanted = bool if name == "publish_raw" else (int, float)
            if not isinstance(value, wanted) or (wanted is not bool and isinstance(value, bool)):
                raise InputError(f"{path}: {name} = {value!r} is of the wrong type")
        try:
            return replace(
                PRESETS[base],
                **{k: v if isinstance(v, bool) else float(v) for k, v in table.items()},
            )
        except InputError as error:
            raise InputError(f"{path}: {error}") from error


PRESETS: dict[str, SmoothingConfig] = {
    "raw": SmoothingConfig(publish_raw=True),
    "responsive": SmoothingConfig(),
    "steady": SmoothingConfig(
        rotation_process=0.3,
        direction_process=0.004,
        log_depth_process=0.01,
        expression_process=100.0,
        blendshape_process=5.0,
        eye_process=1500.0,
        identity_process=0.0001,
        gate=12.0,
    ),
}
"""What ``--smoothing`` knows by name."""


def resolve_smoothing(smoothing: str | Path | SmoothingConfig) -> SmoothingConfig:
    """The settings that a preset's name, a file or a config means.

    Raises:
        InputError: no such preset or file.
    """
    if isinstance(smoothing, SmoothingConfig):
        return smoothing
    if isinstance(smoothing, str) and smoothing in PRESETS:
        return PRESETS[smoothing]
    path = Path(smoothing)
    if not path.is_file():
        raise InputError(
            f"smoothing: {str(smoothing)!r} is neither a preset ({', '.join(PRESETS)}) nor a file"
        )
    return SmoothingConfig.load(path)
