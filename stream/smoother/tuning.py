"""What a smoother knows of its network's errors and of how faces move: ``smoother.toml``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from importlib import resources
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from jaxtyping import Float64, Int64

from ...models.documents import toml_of
from ...models.errors import InputError
from ...models.weights import default as default_weights
from .channels import (
    CHANNEL_GROUPS,
    GROUPS,
    INDEPENDENT,
    MODES_OF,
    SHAPE_CHANNEL_GROUPS,
    SHAPE_GROUPS,
)
from .displacement_tuning import DisplacementTuning

TUNING_FORMAT: Final = 1
"""Version of the layout of ``smoother.toml``."""

CONDITIONS: Final = ("log_noise", "log_sharpness", "log_side", "turn", "log_unrest")
"""What of a frame the errors depend on, besides the variances that the network states: those of
:func:`~mien.stream.quality.conditions`, and :class:`~.unrest.Unrest`."""

MODES: Final = 3
"""At rest, on the move, fast."""

MODE_NAMES: Final = tuple(dict.fromkeys(MODES_OF.values()))
"""Sets of modes that groups share."""

_FIGURES: Final = len(CONDITIONS)
_ROUNDING: Final = 1e-3
_LARGEST: Final = 1e100


@dataclass(frozen=True)
class ErrorLaw:
    """Variance of a part of a measurement's error, as a function of what can be seen.

    ``log variance_i = level_i + stated * s_i + conditions . f``: s_i is the log-variance that the
    network states (of a blendshape b, ``log(b (1 - b) + 0.02)``), f are the frame's conditions.

    Attributes:
        level: one a channel of the group.
        stated: weight of s.
        conditions: weights of the conditions.
    """

    level: tuple[float, ...]
    stated: float
    conditions: tuple[float, ...]


@dataclass(frozen=True)
class GroupTuning:
    """One group of channels.

    Attributes:
        white: law of the error that is new in every frame.
        slow: law of the error that lasts.
        error_s: time in which the lasting error forgets itself.
        error_share: share of its variance that does at most; the rest stays for good.
        error_ratio: of the variance that does to that of the new errors, at most.
        speeds: standard deviation of the velocity in each mode, unit/s, ascending.
        velocity_s: time in which a velocity dies down.
    """

    white: ErrorLaw
    slow: ErrorLaw
    error_s: float
    error_share: float
    error_ratio: float
    speeds: tuple[float, ...]
    velocity_s: float


@dataclass(frozen=True)
class ModeTuning:
    """The modes that some groups share.

    Attributes:
        usual: share of the time in each mode; they sum to 1.
        forget_s: time in which a mode is forgotten.
        evidence: weight of the channels' likelihoods together, below 1 where their errors agree.
    """

    usual: tuple[float, ...]
    forget_s: float
    evidence: float


@dataclass(frozen=True)
class BankTuning:
    """The tuning of some channels as arrays: N channels, G groups, H sets of M modes.

    Channels that move each for itself are groups of one here, with modes of their own.

    Attributes:
        group: (N,) position of each channel's group.
        modes: (G,) position of each group's set of modes.
        white: (N, 2 + F) laws of the new errors: level, weight of what is stated, conditions'.
        slow: (N, 2 + F) of the lasting ones.
        error_share: (N,).
        error_ratio: (N,).
        error_s: (G,).
        speeds: (G, M) variances of the velocity.
        velocity_s: (G,).
        usual: (H, M).
        forget_s: (H,).
        evidence: (H,).
        displacement: of the pose's channels; None where displacements do not count.
    """

    group: Int64[np.ndarray, " N"]
    modes: Int64[np.ndarray, " G"]
    white: Float64[np.ndarray, "N A"]
    slow: Float64[np.ndarray, "N A"]
    error_share: Float64[np.ndarray, " N"]
    error_ratio: Float64[np.ndarray, " N"]
    error_s: Float64[np.ndarray, " G"]
    speeds: Float64[np.ndarray, "G M"]
    velocity_s: Float64[np.ndarray, " G"]
    usual: Float64[np.ndarray, "H M"]
    forget_s: Float64[np.ndarray, " H"]
    evidence: Float64[np.ndarray, " H"]
    displacement: DisplacementTuning | None = None


@dataclass(frozen=True)
class Tuning:
    """All of ``smoother.toml``.

    Attributes:
        groups: by name, of :data:`~.channels.GROUPS` and :data:`~.channels.SHAPE_GROUPS`.
        modes: by name, of :data:`~.channels.MODES_OF`.
        lowest: of each condition, as far as it was measured; smaller ones count as this.
        highest: the same upwards.
        provenance: how it was made, as plain values.
        displacement: what displacements are worth; None where they do not count.
    """

    groups: Mapping[str, GroupTuning]
    modes: Mapping[str, ModeTuning]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    provenance: Mapping[str, str | int | float] = field(default_factory=dict)
    displacement: DisplacementTuning | None = None

    @classmethod
    def load(cls, path: Path) -> Tuning:
        """Read ``smoother.toml``.

        Raises:
            InputError: the file is missing, damaged, of another format or has impossible values.
        """
        try:
            table = toml_of(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not a smoother's tuning in TOML: {error}") from error
        if table.get("format") != TUNING_FORMAT:
            raise InputError(
                f"{path}: format {table.get('format')!r}, this version reads {TUNING_FORMAT}"
            )
        if table.get("conditions") != list(CONDITIONS):
            raise InputError(f"{path}: conditions must be {list(CONDITIONS)}")
        try:
            tuning = cls(
                groups={name: _group(name, table[name]) for name in (*GROUPS, *SHAPE_GROUPS)},
                modes={name: _modes(name, table["modes"][name]) for name in MODE_NAMES},
                lowest=_numbers(table, "lowest", _FIGURES),
                highest=_numbers(table, "highest", _FIGURES),
                provenance=table.get("provenance", {}),
                displacement=_displacement(table.get("displacement")),
            )
            if any(a > b for a, b in zip(tuning.lowest, tuning.highest, strict=True)):
                raise InputError("lowest lies above highest")
            return tuning
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: lacks {error}") from error

    @classmethod
    def default(cls) -> Tuning:
        """The tuning of the bundle that ships inside the package."""
        return cls.load(Path(str(resources.files(default_weights))) / "smoother.toml")

    def text(self) -> str:
        """The file's content."""
        lines = [f"format = {TUNING_FORMAT}", f"conditions = {list(CONDITIONS)}"]
        lines += [f"lowest = {_row(self.lowest)}", f"highest = {_row(self.highest)}"]
        lines += ["", "[provenance]"]
        lines += [f"{key} = {_plain(value)}" for key, value in self.provenance.items()]
        for name, group in self.groups.items():
            lines += ["", f"[{name}]"]
            for item in fields(group):
                value = getattr(group, item.name)
                if isinstance(value, ErrorLaw):
                    lines += [f"{item.name}.level = {_row(value.level)}"]
                    lines += [f"{item.name}.stated = {value.stated:.5g}"]
                    lines += [f"{item.name}.conditions = {_row(value.conditions)}"]
                else:
                    shown = _row(value) if isinstance(value, tuple) else f"{value:.5g}"
                    lines += [f"{item.name} = {shown}"]
        for name, modes in self.modes.items():
            lines += ["", f"[modes.{name}]", f"usual = {_row(modes.usual)}"]
            lines += [f"forget_s = {modes.forget_s:.5g}", f"evidence = {modes.evidence:.5g}"]
        if self.displacement is not None:
            lines += ["", "[displacement]"]
            lines += [f"{name} = {_row(row)}" for name, row in asdict(self.displacement).items()]
        return "\n".join(lines) + "\n"

    def trusting(self, names: Sequence[str], factor: float) -> Tuning:
        """With the deviations of some groups' new errors multiplied by a factor."""
        groups = dict(self.groups)
        for name in names:
            white = groups[name].white
            level = tuple(value + 2.0 * math.log(factor) for value in white.level)
            groups[name] = replace(
                groups[name],
                white=replace(white, level=level),
                error_ratio=groups[name].error_ratio / factor**2,  # what passes stays as it is
            )
        return replace(self, groups=groups)

    def variances(
        self,
        bank: BankTuning,
        stated: Float64[np.ndarray, " N"],
        conditions: Float64[np.ndarray, " F"],
    ) -> tuple[Float64[np.ndarray, " N"], Float64[np.ndarray, " N"], Float64[np.ndarray, " N"]]:
        """Variance of the errors of a measurement: new ones, passing ones, those that stay.

        Args:
            bank: :attr:`face` or :attr:`identity`.
            stated: log-variances that the network states.
            conditions: of the frame; NaN where not known. They count as far as they were measured.
        """
        lowest, highest = self.limits
        white, passing, lasting = np.empty((3, len(stated)))
        self._kernel.error_variances(
            stated, conditions, lowest, highest, bank.white, bank.slow, bank.error_share,
            bank.error_ratio, white,
            passing, lasting,
        )  # fmt: skip
        return white, passing, lasting

    @cached_property
    def _kernel(self) -> ModuleType:
        from . import _kernel

        return _kernel

    @cached_property
    def limits(self) -> tuple[Float64[np.ndarray, " F"], Float64[np.ndarray, " F"]]:
        """Lowest and highest conditions that were measured."""
        return np.array(self.lowest), np.array(self.highest)

    @cached_property
    def face(self) -> BankTuning:
        """Of pose, expression and blendshapes."""
        return replace(self._bank(CHANNEL_GROUPS), displacement=self.displacement)

    @cached_property
    def identity(self) -> BankTuning:
        """Of the shape components."""
        return self._bank(SHAPE_CHANNEL_GROUPS)

    def _bank(self, channel_groups: tuple[str, ...]) -> BankTuning:
        rows: list[str] = []  # the group, by name, of each row of the arrays
        index = np.empty(len(channel_groups), np.int64)
        for number, name in enumerate(channel_groups):
            if name in INDEPENDENT or name not in rows:
                rows.append(name)
            index[number] = len(rows) - 1 if name in INDEPENDENT else rows.index(name)
        sets = [f"{n}" if name in INDEPENDENT else MODES_OF[name] for n, name in enumerate(rows)]
        order = list(dict.fromkeys(sets))
        groups = [self.groups[name] for name in rows]
        modes = [self.modes[MODES_OF[rows[sets.index(one)]]] for one in order]
        return BankTuning(
            group=index,
            modes=np.array([order.index(one) for one in sets], np.int64),
            white=_laws(self.groups, "white", channel_groups),
            slow=_laws(self.groups, "slow", channel_groups),
            error_share=np.array([group.error_share for group in groups])[index],
            error_ratio=np.array([group.error_ratio for group in groups])[index],
            error_s=np.array([group.error_s for group in groups]),
            speeds=np.array([group.speeds for group in groups]) ** 2,
            velocity_s=np.array([group.velocity_s for group in groups]),
            usual=np.array([mode.usual for mode in modes]),
            forget_s=np.array([mode.forget_s for mode in modes]),
            evidence=np.array([mode.evidence for mode in modes]),
        )


def channels_of(group: str) -> list[int]:
    """Numbers of a group's channels among all of its bank."""
    names = SHAPE_CHANNEL_GROUPS if group in SHAPE_GROUPS else CHANNEL_GROUPS
    return [number for number, name in enumerate(names) if name == group]


def _laws(
    groups: Mapping[str, GroupTuning], part: str, channel_groups: tuple[str, ...]
) -> Float64[np.ndarray, "N A"]:
    rows = np.empty((len(channel_groups), 2 + _FIGURES))
    for name in set(channel_groups):
        law: ErrorLaw = getattr(groups[name], part)
        own = [number for number, other in enumerate(channel_groups) if other == name]
        rows[own, 0] = law.level
        rows[own, 1] = law.stated
        rows[own, 2:] = law.conditions
    return rows


def _group(name: str, table: Mapping[str, Any]) -> GroupTuning:
    count = len(channels_of(name))
    values: dict[str, Any] = {}
    for part in ("white", "slow"):
        law = table[part]
        values[part] = ErrorLaw(
            _numbers(law, "level", count), _number(law, "stated"),
            _numbers(law, "conditions", _FIGURES),
        )  # fmt: skip
    values["speeds"] = _numbers(table, "speeds", MODES)
    for part in ("error_s", "error_share", "error_ratio", "velocity_s"):
        values[part] = _number(table, part)
    group = GroupTuning(**values)
    positive = (*group.speeds, group.error_s, group.error_ratio, group.velocity_s)
    if min(positive) <= 0.0 or not 0.0 <= group.error_share <= 1.0:
        raise InputError(f"[{name}]: speeds and times must be positive, error_share 0 to 1")
    if any(second <= first for first, second in pairwise(group.speeds)):
        raise InputError(f"[{name}]: speeds must ascend")
    return group


def _modes(name: str, table: Mapping[str, Any]) -> ModeTuning:
    modes = ModeTuning(
        _numbers(table, "usual", MODES), _number(table, "forget_s"), _number(table, "evidence")
    )
    if min(*modes.usual, modes.forget_s, modes.evidence) <= 0.0:
        raise InputError(f"[modes.{name}]: all must be positive")
    if abs(sum(modes.usual) - 1.0) > _ROUNDING:
        raise InputError(f"[modes.{name}]: usual must sum to 1")
    return modes


def _displacement(table: Mapping[str, Any] | None) -> DisplacementTuning | None:
    if table is None:
        return None
    lengths = {name: len(row) for name, row in asdict(DisplacementTuning()).items()}
    said = [name for name in lengths if name in table or name == "variance"]  # or older
    return DisplacementTuning(**{name: _numbers(table, name, lengths[name]) for name in said})


def _number(table: Mapping[str, Any], key: str) -> float:
    value = table[key]
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if not known or not -_LARGEST < value < _LARGEST:
        raise InputError(f"{key} is {value!r:.60}, expected a number")
    return float(value)


def _numbers(table: Mapping[str, Any], key: str, count: int) -> tuple[float, ...]:
    values = table[key]
    if not isinstance(values, list) or len(values) != count:
        raise InputError(f"{key} is {values!r}, expected {count} numbers")
    return tuple(_number({key: value}, key) for value in values)


def _row(values: tuple[float, ...]) -> str:
    return "[" + ", ".join(f"{value:.5g}" for value in values) + "]"


def _plain(value: str | float) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # TOML's basic strings escape as JSON does
    return repr(value)
