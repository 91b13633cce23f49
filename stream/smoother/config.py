"""Strengths of the smoother: three presets, or a TOML file with the same names."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...models.documents import is_file, toml_of
from ...models.errors import InputError
from .channels import LIDS
from .tuning import Tuning

if TYPE_CHECKING:
    from ...models.face.bundle import Bundle


@dataclass(frozen=True)
class SmoothingConfig:
    """How far the smoother goes with what it knows of errors and motion.

    Attributes:
        publish_raw: publish measurements as they are; the filters only bridge gaps.
        rest: multiplies the speeds that a face at rest may have: small ones keep it stiller.
        motion: multiplies the speeds of faces on the move: large ones follow faster.
        readiness: multiplies the usual share of the time on the move: large ones take less to
            believe that a face has begun to move.
        noise: multiplies the deviations of all other new errors: large ones trust measurements
            less, which is steadier and follows slow movements later.
        lids: multiplies the deviations of the lids' new errors: a blink lasts for few frames, and
            a filter that doubts the first of them cuts off its peak.
        gate: squared Mahalanobis distance, a channel, from which a measurement is an outlier.
        patience_s: time for which outliers are ignored; then the face has jumped, and is followed.
        head_scale_sd: relative standard deviation of the size of heads about the model's.
        tuning: of the network's errors and of how faces move; None takes the bundle's, or the
            default bundle's where there is none.
    """

    publish_raw: bool = False
    rest: float = 0.5
    motion: float = 3.0
    readiness: float = 0.5
    noise: float = 1.0
    lids: float = 0.22
    gate: float = 20.0
    patience_s: float = 0.03
    head_scale_sd: float = 0.045
    tuning: Tuning | None = None

    def __post_init__(self) -> None:
        for name in _SETTINGS:
            value = getattr(self, name)
            if name != "publish_raw" and not (value > 0.0 and math.isfinite(value)):
                raise InputError(f"smoothing: {name} must be positive, got {value}")

    @classmethod
    def load(cls, path: Path) -> SmoothingConfig:
        """Read a TOML file; what it does not name is as in ``responsive``, or its ``preset``.

        Its ``tuning`` may name another file, relative to it: a ``smoother.toml``, as
        ``mien tune-smoother`` writes them.

        Raises:
            InputError: the file cannot be read, names an unknown setting, or a value is impossible.
        """
        try:
            table = toml_of(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not a smoothing file in TOML: {error}") from error
        base = str(table.pop("preset", "responsive"))
        tuning = table.pop("tuning", None)
        unknown = sorted(set(table) - set(_SETTINGS))
        if unknown or base not in PRESETS:
            wrong = f"preset {base!r}" if base not in PRESETS else ", ".join(unknown)
            raise InputError(
                f"{path}: unknown {wrong}; presets are {', '.join(PRESETS)}, settings are "
                f"preset, tuning, {', '.join(sorted(_SETTINGS))}"
            )
        for name, value in table.items():
            wanted = bool if name == "publish_raw" else (int, float)
            if not isinstance(value, wanted) or (wanted is not bool and isinstance(value, bool)):
                raise InputError(f"{path}: {name} = {value!r} is of the wrong type")
        try:
            values: dict[str, Any] = {
                k: v if isinstance(v, bool) else float(v) for k, v in table.items()
            }
        except OverflowError as error:
            raise InputError(f"{path}: a number is too large") from error
        if tuning is not None:
            if not isinstance(tuning, str):
                raise InputError(f"{path}: tuning = {tuning!r}, expected the name of a file")
            values["tuning"] = Tuning.load(path.parent / tuning)
        try:
            return replace(PRESETS[base], **values)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    @cached_property
    def filter_tuning(self) -> Tuning:
        """The tuning as the filters take it, at this strength."""
        tuning = self.tuning or Tuning.default()
        others = [name for name in tuning.groups if name not in LIDS]
        return tuning.trusting(LIDS, self.lids).trusting(others, self.noise)

    def tuned(self, bundle: Bundle) -> SmoothingConfig:
        """With the tuning of a bundle, where the settings name none of their own.

        Raises:
            InputError: the bundle's tuning cannot be read.
        """
        if self.tuning is not None:
            return self
        path = bundle.smoother_path
        return replace(self, tuning=Tuning.default() if path is None else Tuning.load(path))


_SETTINGS = tuple(field.name for field in fields(SmoothingConfig) if field.name != "tuning")

PRESETS: dict[str, SmoothingConfig] = {
    "raw": SmoothingConfig(publish_raw=True),
    "responsive": SmoothingConfig(),
    "steady": SmoothingConfig(noise=1.3, rest=0.25, readiness=0.03),
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
    if not is_file(path):
        raise InputError(
            f"smoothing: {str(smoothing)!r} is neither a preset ({', '.join(PRESETS)}) nor a file"
        )
    return SmoothingConfig.load(path)
