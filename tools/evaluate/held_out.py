"""What ``mien evaluate`` makes of a shard folder: crops with full synthetic truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import UInt8

from ...models.errors import InputError
from ...models.face.bundle import OUTPUTS, Bundle
from ...models.face.crop import CROP_SIZE, Crop
from ...models.face.names import N_LANDMARKS, N_PARAMS
from ...models.face.perspective import split_orthography
from ...models.face.rotation import angle_between_deg, matrix_from_yaw_pitch_roll
from ...models.synthetic import measures
from ...models.synthetic.degradation import DEGRADATIONS
from ...models.synthetic.evaluation import PeopleTable, load_people
from ...models.synthetic.groups import expression_classes, image_qualities, people_groups
from ...models.synthetic.shards import META_NAME, Shard, ShardFolder
from ...stream.candidate import Candidate
from ...stream.tracker_config import TrackerConfig
from .estimator import Estimator
from .labels import TrueFace
from .scores import Scored, score

_FACE: Final = TrackerConfig().find_presence
"""Presence from which a crop is taken to show a face."""
_TURNS: Final = ("0-30", "30-60", "60 and more")
"""Of |yaw|, degrees; the last also has faces that are turned beyond profile."""
_DEGRADED_EVERY: Final = 4
"""One picture in so many is measured with each loss of quality too."""


@dataclass
class _Rows:
    """One entry a face of which the network said something."""

    estimates: dict[str, list[np.ndarray]] = field(default_factory=dict)
    truths: dict[str, list[np.ndarray]] = field(default_factory=dict)
    errors: list[np.ndarray] = field(default_factory=list)
    variances: list[np.ndarray] = field(default_factory=list)
    crops: list[np.ndarray] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)
    nme: list[float] = field(default_factory=list)
    yaw_deg: list[float] = field(default_factory=list)
    turn_deg: list[float] = field(default_factory=list)
    degraded: dict[str, list[float]] = field(default_factory=dict)


@dataclass
class HeldOut:
    """Faces scored as stills are, and the figures beyond those.

    Attributes:
        faces: all, in order.
        figures: see :mod:`mien.models.synthetic.measures`.
        false: crops without a face that were taken for one: image and box.
    """

    faces: list[Scored]
    figures: dict[str, Any]
    false: list[dict[str, Any]]


def is_shard_folder(folder: Path) -> bool:
    """Whether a set is a folder of shards."""
    return (folder / META_NAME).is_file()


def count_pictures(folder: Path) -> int:
    """Pictures in the finished shards of a folder.

    Raises:
        InputError: a shard is damaged.
    """
    return sum(len(shard) for shard in _shards(folder))


def _shards(folder: Path) -> list[Shard]:
    return ShardFolder(folder, validation=1_000_000).validation


def check_outputs(bundle: Bundle, folder: Path) -> None:
    """See that a bundle's network says all that is measured on a folder.

    Raises:
        InputError: it lacks outputs.
    """
    if set(bundle.info.outputs) != set(OUTPUTS):
        raise InputError(
            f"{folder}: to measure on it takes a bundle with {', '.join(OUTPUTS)}; "
            f"{bundle.name} has {', '.join(bundle.info.outputs)}"
        )


def measure_shards(
    folder: Path,
    bundle: Bundle,
    estimator: Estimator,
    step: Callable[[], object],
    *,
    degraded: bool = True,
) -> HeldOut:
    """Look at the nominal crop of every picture, one pass.

    Args:
        folder: of shards; with tables of people, errors are also told apart by who is shown.
        bundle: whose face model the true meshes follow.
        estimator: looks with that bundle.
        step: called after every picture.
        degraded: whether to look at some pictures again with losses of quality.

    Raises:
        InputError: there is no finished shard, one is damaged or of another face model, or the
            bundle's network lacks outputs.
    """
    check_outputs(bundle, folder)
    shards = _shards(folder)
    if not shards:
        raise InputError(f"{folder}: no finished shard in it")
    people = {shard.number: load_people(folder, shard.number) for shard in shards}
    for shard in shards:
        table = people[shard.number]
        if table is not None and len(table.person) != len(shard):
            raise InputError(
                f"{folder}: shard {shard.number} has {len(shard)} pictures, its table of people "
                f"{len(table.person)}"
            )
    rows, faces, false = _Rows(), [], []
    presence: list[float] = []
    is_face: list[bool] = []
    for shard, index in _pictures(shards):
        image = np.array(shard.images[index])
        candidate = estimator.look(image, _nominal(image))
        name = f"{shard.number:05d}/{index}"
        real = bool(shard.labels.presence[index] > 0)
        presence.append(0.0 if candidate is None else candidate.presence or 0.0)
        is_face.append(real)
        if real:
            truth = _truth(shard, index)
            estimate = estimator.of_candidate(candidate) if candidate else None
            faces.append(score(name, truth, estimate))
            if candidate is not None:
                _add(rows, shard, index, image, candidate, faces[-1])
                if degraded and len(faces) % _DEGRADED_EVERY == 0:
                    _degrade(rows, estimator, image, faces[-1], len(faces))
        elif candidate is not None and candidate.shows_face(_FACE):
            false.append({"image": name, "box": list(candidate.box_xywh_px)})
        step()
    figures = _figures(rows, bundle, people)
    figures["presence"] = measures.presence_figures(np.array(presence), np.array(is_face), _FACE)
    return HeldOut(faces, figures, false)


def _pictures(shards: list[Shard]) -> Iterator[tuple[Shard, int]]:
    for shard in shards:
        for index in range(len(shard)):
            yield shard, index


def _nominal(image: UInt8[np.ndarray, "S S 3"]) -> Crop:
    middle = (image.shape[0] - 1) / 2.0
    return Crop(middle, middle, float(CROP_SIZE))


def _truth(shard: Shard, index: int) -> TrueFace:
    yaw, pitch, roll = (float(value) for value in shard.labels.angles[index])
    marks = shard.labels.points[index, :N_LANDMARKS].astype(np.float64)
    return TrueFace(index=0, landmarks_px=marks, yaw_deg=yaw, pitch_deg=pitch, roll_deg=roll)


def _add(
    rows: _Rows, shard: Shard, index: int, image: np.ndarray, seen: Candidate, scored: Scored
) -> None:
    labels = shard.labels
    pose = labels.pose[index].astype(np.float64).copy()
    pose[:2, 3] -= (image.shape[0] - CROP_SIZE) / 2.0
    rows.errors.append(
        np.concatenate(
            [
                (seen.orthography - pose).ravel(),
                seen.shape - labels.shape[index],
                seen.expression - labels.expression[index],
            ]
        )
    )
    rows.variances.append(
        np.concatenate(
            [seen.orthography_variance.ravel(), seen.shape_variance, seen.expression_variance]
        )
    )
    for name in ("shape", "expression", "blendshapes"):
        rows.estimates.setdefault(name, []).append(np.asarray(getattr(seen, name), np.float64))
        rows.truths.setdefault(name, []).append(getattr(labels, name)[index].astype(np.float64))
    rows.crops.append(image)
    rows.places.append((shard.number, index))
    rows.nme.append(scored.nme or 0.0)
    rows.yaw_deg.append(float(labels.angles[index, 0]))
    true = matrix_from_yaw_pitch_roll(labels.angles[index].astype(np.float64))
    rows.turn_deg.append(float(angle_between_deg(split_orthography(seen.orthography)[0], true)))


def _degrade(
    rows: _Rows, estimator: Estimator, image: np.ndarray, scored: Scored, count: int
) -> None:
    """Look at some pictures again with each loss of quality."""
    rows.degraded.setdefault("as rendered", []).append(scored.nme or 0.0)
    for name, degrade in DEGRADATIONS.items():
        worse = degrade(image, np.random.default_rng(count))
        candidate = estimator.look(worse, _nominal(image))
        if candidate is not None:
            again = score(scored.image, scored.truth, estimator.of_candidate(candidate))
            rows.degraded.setdefault(name, []).append(again.nme or 0.0)


def _figures(rows: _Rows, bundle: Bundle, people: dict[int, PeopleTable | None]) -> dict[str, Any]:
    if not rows.nme:
        return {}
    said = {name: np.stack(values) for name, values in rows.estimates.items()}
    true = {name: np.stack(values) for name, values in rows.truths.items()}
    yaw_deg, nme = np.array(rows.yaw_deg), np.array(rows.nme)
    table = _joined(rows.places, people)
    groups: dict[str, np.ndarray] = {
        "yaw": np.array(_TURNS)[np.searchsorted([30.0, 60.0], np.abs(yaw_deg))],
        "expression": expression_classes(true["blendshapes"]),
        **image_qualities(np.stack(rows.crops)),
    }
    model = bundle.face_model
    if table is None:
        neutral = np.stack([model.decode(row.astype(np.float32)) for row in true["shape"]])
        person = np.arange(len(nme))
    else:
        groups |= people_groups(table)
        neutral, person = table.neutral, table.person
    if neutral.shape[1:] != model.mean.shape:
        raise InputError(
            f"the set's faces have {neutral.shape[1]} vertices, the bundle's {len(model.mean)}"
        )
    errors, variances = np.stack(rows.errors), np.stack(rows.variances)
    # The depth offset of an orthography says nothing.
    known = np.delete(np.arange(N_PARAMS), 11)
    variances[:, 11] = np.maximum(variances[:, 11], 1e-12)
    turn_deg = np.array(rows.turn_deg)
    return {
        "rotation": {
            "mean": float(turn_deg.mean()),
            "by_yaw": measures.group_means(turn_deg, {"yaw": groups["yaw"]})["yaw"],
        },
        "shape": measures.shape_figures(model, said["shape"], true["shape"], person, neutral),
        "expression": measures.expression_figures(said["blendshapes"], true["blendshapes"]),
        "components": measures.component_figures(said["expression"], true["expression"]),
        "blink": measures.blink_figures(said["blendshapes"], true["blendshapes"], yaw_deg),
        "gaze": measures.gaze_figures(said["blendshapes"], true["blendshapes"], yaw_deg),
        "normalised_error_squared": measures.variance_figures(errors, variances),
        "normalised_error_squared_by_output": dict(
            zip(known.tolist(), (errors**2 / variances).mean(axis=0)[known].tolist(), strict=True)
        ),
        "nme_by_group": measures.group_means(nme, groups) | _by_degradation(rows.degraded),
    }


def _by_degradation(nme: dict[str, list[float]]) -> dict[str, Any]:
    if not nme:
        return {}
    names = np.concatenate([np.full(len(values), name) for name, values in nme.items()])
    every = np.concatenate([np.array(values) for values in nme.values()])
    return measures.group_means(every, {"loss of quality": names})


def _joined(
    places: list[tuple[int, int]], people: dict[int, PeopleTable | None]
) -> PeopleTable | None:
    """One table for chosen pictures, in their order; None where a shard has none."""
    tables: dict[int, PeopleTable] = {n: t for n, t in people.items() if t is not None}
    if any(number not in tables for number, _ in places):
        return None
    first, start = {}, 0
    for number, found in tables.items():
        first[number], start = start, start + len(found.neutral)

    def column(name: str) -> np.ndarray:
        return np.stack([getattr(tables[number], name)[index] for number, index in places])

    return PeopleTable(
        person=np.array([tables[n].person[i] + first[n] for n, i in places], np.int32),
        age_years=column("age_years"),
        masculinity=column("masculinity"),
        ancestry=column("ancestry"),
        skin=column("skin"),
        beard=column("beard"),
        glasses=column("glasses"),
        covered=column("covered"),
        neutral=np.concatenate([found.neutral for found in tables.values()]),
    )


def picture_reader(folder: Path) -> Callable[[str], UInt8[np.ndarray, "H W 3"] | None]:
    """Reads pictures of a shard folder by the names that :class:`HeldOut` gives them."""
    shards = {shard.number: shard for shard in _shards(folder)}

    def read(name: str) -> UInt8[np.ndarray, "H W 3"] | None:
        number, index = (int(part) for part in name.split("/"))
        return np.array(shards[number].images[index])

    return read
