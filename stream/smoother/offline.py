"""The off-line smoother: what the filter knew then, corrected by all that came after.

Three passes over the steps of a followed face, which lie in a file: the modes of motion backwards
(Markov chain), the same Kalman filter as on line with the velocity variances that follow from
them, and Rauch-Tung-Striebel backwards. The memory in use does not grow with the steps.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import numpy as np
from jaxtyping import Float64

from ...models.errors import OutputError
from ...models.face.perspective import PerspectivePose
from .bank import Motion
from .channels import N_CHANNELS, POSE
from .config import SmoothingConfig
from .pose import translation_from_view
from .smoother import FaceState, FilterStep, face_state
from .tuning import BankTuning

_BLOCK: Final = 512  # steps in memory at a time

_STATE: Final = ("x", "P", "smooth_quat")


def _step_type(tuning: BankTuning) -> np.dtype[np.void]:
    """What is kept of a step: of the filter, and of the passes."""
    by_mode = tuning.usual.shape
    groups = len(tuning.speeds)
    return np.dtype(
        [
            ("dt_s", "f8"),
            ("quat", "f8", 4),
            ("values", "f4", N_CHANNELS),
            ("white", "f4", N_CHANNELS),
            ("slow", "f4", N_CHANNELS),
            ("lasting", "f4", 6),
            ("by", "f4", 6),
            ("by_variance", "f4", 6),  # 0: no displacement was taken in
            ("shares", "f4", by_mode),
            ("likelihood", "f4", by_mode),
            ("events", "u1", groups),
            ("speeds", "f4", groups),
            ("x", "f4", (N_CHANNELS, 3)),
            ("P", "f4", (N_CHANNELS, 6)),
            ("smooth_quat", "f8", 4),
        ]
    )


class OfflineSmoother:
    """Smooths one followed face after its last frame.

    Steps are spooled to an unnamed file, 6 kB each. Add them in order, then read the states.

    Args:
        config: of the filter that made the steps.
        folder: for the file; None takes the system's folder for temporary files.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, config: SmoothingConfig, folder: Path | None = None) -> None:
        from . import _offline_kernel

        self._kernel = _offline_kernel
        self._tuning = config.filter_tuning.face
        self._motion = Motion.of(self._tuning, config)
        self._shape: Float64[np.ndarray, " 40"] | None = None
        self._has_blendshapes = False
        self._file: IO[bytes] = _temporary(folder)
        self._folder = folder
        self._count = 0
        self._smooth_count = 0
        self._type = _step_type(self._tuning)
        self._pending = np.zeros(_BLOCK, self._type)

    def __len__(self) -> int:
        return self._count

    def add(self, step: FilterStep) -> None:
        """Take the next frame's step.

        Raises:
            OutputError: it cannot be written.
        """
        at = self._pending[self._count % _BLOCK]
        at["dt_s"] = step.dt_s
        at["shares"], at["likelihood"], at["events"] = step.shares, step.likelihood, step.events
        at["lasting"] = step.lasting
        if step.measured is not None:
            at["values"], at["white"] = step.measured.values, step.measured.white
            at["slow"] = step.measured.slow
            at["quat"] = step.measured.quat_wxyz
        elif self._count:
            before = self._pending[(self._count - 1) % _BLOCK]
            at["values"], at["white"], at["slow"] = (
                before["values"],
                before["white"],
                before["slow"],
            )
            at["quat"] = before["quat"]
        if step.displaced is None:
            at["by_variance"] = 0.0
        else:
            at["by"], at["by_variance"] = step.displaced.by, step.displaced.variance
        self._shape, self._has_blendshapes = step.shape, step.has_blendshapes
        self._count += 1
        if self._count % _BLOCK == 0:
            self._write(self._count - _BLOCK, self._pending)

    def smooth(self) -> None:
        """Run the passes; :meth:`states` does it where it was not done.

        Raises:
            OutputError: the file cannot be written.
        """
        rest = self._count % _BLOCK
        if rest:
            self._write(self._count - rest, self._pending[:rest])
        blocks = [(a, min(a + _BLOCK, self._count)) for a in range(0, self._count, _BLOCK)]
        self._smooth_modes(blocks)
        self._filter(blocks)
        self._smooth_states(blocks)
        self._smooth_count = self._count

    def states(self, relative_size_sd: float) -> Iterator[FaceState]:
        """The smoothed states of all steps, in order.

        Args:
            relative_size_sd: how uncertain the size of this head is.

        Raises:
            OutputError: the file cannot be written.
        """
        if self._smooth_count != self._count:
            self.smooth()
        for first in range(0, self._count, _BLOCK):
            for at in self._read(first, min(first + _BLOCK, self._count)):
                yield self._state(at, relative_size_sd)

    def _state(self, at: np.void, relative_size_sd: float) -> FaceState:
        values = at["x"][:, 0].astype(np.float64)
        variance = (at["P"][POSE, 0] + at["lasting"]).astype(np.float64)
        pose = PerspectivePose(at["smooth_quat"].copy(), translation_from_view(values[3:6]))
        shape = np.zeros(40) if self._shape is None else self._shape
        return face_state(pose, variance, shape, values, self._has_blendshapes, relative_size_sd)

    def _smooth_modes(self, blocks: list[tuple[int, int]]) -> None:
        beyond = np.ones(self._motion.usual.shape)
        for first, end in reversed(blocks):
            steps = self._read(first, end)
            shares = _column(steps, "shares")
            self._kernel.modes_backward(
                shares, _column(steps, "likelihood"), steps["dt_s"].copy(),
                self._motion.usual, self._tuning.forget_s, beyond,
            )  # fmt: skip
            by_group = shares[:, self._tuning.modes]
            steps["speeds"] = np.einsum("tgm,gm->tg", by_group, self._motion.speeds)
            self._write(first, steps)

    def _filter(self, blocks: list[tuple[int, int]]) -> None:
        tuning = self._tuning
        x, P = np.zeros((N_CHANNELS, 3)), np.zeros((N_CHANNELS, 6))
        quat, slow = np.array([1.0, 0.0, 0.0, 0.0]), np.zeros(N_CHANNELS)
        for first, end in blocks:
            steps = self._read(first, end)
            count = end - first
            all_x, all_P = np.empty((count, N_CHANNELS, 3)), np.empty((count, N_CHANNELS, 6))
            all_quats = np.empty((count, 4))
            self._kernel.forward(
                x, P, quat, slow, True, steps["dt_s"].copy(), steps["events"].copy(),
                _column(steps, "values"), _column(steps, "quat"), _column(steps, "white"),
                _column(steps, "slow"), _column(steps, "speeds"), _column(steps, "by"),
                _column(steps, "by_variance"), tuning.group, tuning.velocity_s, tuning.error_s,
                all_x, all_P, all_quats,
            )  # fmt: skip
            steps["x"], steps["P"], steps["smooth_quat"] = all_x, all_P, all_quats
            self._write(first, steps)

    def _smooth_states(self, blocks: list[tuple[int, int]]) -> None:
        """Rauch-Tung-Striebel; the very last step stands as it was filtered."""
        if not blocks:
            return
        tuning = self._tuning
        last = self._read(self._count - 1, self._count)
        next_x, next_P, next_quat = (_column(last, name)[0] for name in _STATE)
        for first, end in reversed(blocks):
            steps = self._read(first, min(end, self._count - 1))
            following = np.concatenate([steps[1:], last])[: len(steps)]
            all_x, all_P, all_quats = (_column(steps, name) for name in _STATE)
            self._kernel.backward(
                all_x, all_P, all_quats, next_x, next_P, next_quat, True,
                following["dt_s"].copy(), following["events"].copy(), _column(steps, "slow"),
                _column(following, "speeds"), _column(following, "by"),
                _column(following, "by_variance"), tuning.group, tuning.velocity_s, tuning.error_s,
            )  # fmt: skip
            steps["x"], steps["P"], steps["smooth_quat"] = all_x, all_P, all_quats
            self._write(first, steps)
            last = steps[:1].copy() if len(steps) else last

    def _read(self, first: int, end: int) -> np.ndarray:
        self._file.seek(first * self._type.itemsize)
        data = self._file.read((end - first) * self._type.itemsize)
        return np.frombuffer(bytearray(data), self._type)

    def _write(self, first: int, steps: np.ndarray) -> None:
        try:
            self._file.seek(first * self._type.itemsize)
            self._file.write(steps.tobytes())
            self._file.flush()  # what waits in a buffer would fail later, as another error
        except OSError as error:
            raise OutputError(
                f"{self._folder or tempfile.gettempdir()}: no room for the smoother's file: "
                f"{error.strerror}"
            ) from error

    def close(self) -> None:
        """Give the file's room back."""
        with contextlib.suppress(OSError):  # of what a full disk had no room for
            self._file.close()


def _column(steps: np.ndarray, name: str) -> Float64[np.ndarray, ...]:
    """A column of steps, float64, a copy."""
    return steps[name].astype(np.float64)


def _temporary(folder: Path | None) -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(dir=folder)
    except OSError as error:
        raise OutputError(
            f"{folder or tempfile.gettempdir()}: cannot be written: {error.strerror}"
        ) from error
