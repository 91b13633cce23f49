"""Makes the stated variances of an exported bundle true, and quantises where that costs nothing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float64

from ...models.errors import InputError
from ...models.face.bundle import WHOLE_REGRESSOR, Bundle, write_bundle
from ...models.face.crop import CROP_SIZE
from ...models.face.names import N_PARAMS
from ...models.synthetic.evaluation import clip_paths
from ...models.synthetic.shards import ShardFolder
from ...models.writing import whole_file
from .estimator import Estimator
from .films import measure_films
from .held_out import HeldOut, count_pictures, is_shard_folder, measure_shards

MOST_GROWTH: Final = 0.05
"""Of the NME, in percent of the box's size, that eight bits may cost."""
_ROTATION: Final = [0, 1, 2, 4, 5, 6, 8, 9, 10]
"""Entries of the pose matrix that turn and scale."""
_CALIBRATION_CROPS: Final = 320


def check_set(folder: Path, option: str) -> None:
    """See that a bundle can be measured on a folder, before one is written.

    Raises:
        InputError: the folder is not of rendered pictures, or none is finished.
    """
    if not is_shard_folder(folder):
        raise InputError(
            f"{option} {folder}: no folder of rendered pictures, as mien synthesize faces and "
            "evaluation-set write them"
        )
    if not count_pictures(folder):
        raise InputError(f"{option} {folder}: no finished shard in it")


def calibrate(bundle: Bundle, folder: Path) -> Bundle:
    """Add to each log-variance what makes it true on a held-out rendered set, and say so.

    First each output's own variance; then, where the set has films, one constant for the nine
    entries of the pose matrix, so that the published rotation (whose variance is computed from
    them as if they were independent) has a normalised error squared of 1 a degree of freedom.

    Args:
        bundle: rewritten in place.
        folder: of rendered people that training never saw.

    Raises:
        InputError: the folder holds no face, or is damaged.
        OutputError: the bundle cannot be written.
    """
    measured = _measure(bundle, folder)
    by_output = measured.figures.get("normalised_error_squared_by_output")
    if not by_output:
        raise InputError(f"{folder}: no face to calibrate on")
    offset = np.zeros(N_PARAMS)
    offset[list(by_output)] = np.log(list(by_output.values()))
    _offset(bundle, offset)
    films = clip_paths(folder)
    if films:
        bundle = write_bundle(bundle.folder, bundle.info)
        found = measure_films(films, bundle, 1, _nothing, ("raw", "responsive"))
        nees = found["responsive"]["rotation_nees"]
        if nees is None:
            raise InputError(f"{folder}: the face was found in no film")
        more = np.zeros(N_PARAMS)
        more[_ROTATION] = np.log(nees)
        _offset(bundle, more)
        offset += more
    facts = {
        "calibrated_on": f"{len(measured.faces)} faces and {len(films)} films of {folder.name}",
        "log_variance_offset": " ".join(f"{value:.4f}" for value in offset),
    }
    info = replace(bundle.info, training={**bundle.info.training, **facts})
    return write_bundle(bundle.folder, info)


def _offset(bundle: Bundle, offset: Float64[np.ndarray, " 62"]) -> None:
    """Add constants to the log-variances of the network, in both of its forms."""
    from ...models.regressor.export import offset_log_variance

    for path in {bundle.regressor_path, bundle.whole_regressor_path}:
        offset_log_variance(path, offset)


@dataclass(frozen=True)
class Quantised:
    """What eight bits cost.

    Attributes:
        bundle: with the int8 network where it was kept.
        kept: whether.
        nme: percent, of the network in single precision on the folder's pictures.
        nme_int8: of the int8 one.
    """

    bundle: Bundle
    kept: bool
    nme: float
    nme_int8: float


def quantise_bundle(bundle: Bundle, folder: Path) -> Quantised:
    """Put the int8 form of its network into a bundle, unless landmarks suffer.

    The one in single precision stays beside it: trainings go on from that.

    Every eighth picture or so of the folder sets the ranges of the activations (no label is used);
    all of its faces judge.

    Args:
        bundle: rewritten in place where int8 is kept.
        folder: of shards.

    Raises:
        InputError: the folder holds no face, or is damaged; or the network is not one that mien
            exported in single precision.
        OutputError: the bundle cannot be written.
    """
    from ...models.regressor.quantise import quantise
    from ...models.regressor.warm_start import read_export

    read_export(bundle.whole_regressor_path)  # raises for other networks, before anything changes
    eight, whole = bundle.regressor_path, bundle.folder / WHOLE_REGRESSOR
    for source, target in ((bundle.whole_regressor_path, whole), (whole, eight)):
        with whole_file(target) as part:
            shutil.copyfile(source, part)
    info = bundle.info
    training = {key: value for key, value in info.training.items() if key != "precision"}
    bundle = write_bundle(bundle.folder, replace(info, training=training))
    before = _nme(bundle, folder)
    quantise(whole, eight, _crops(folder))
    info = replace(info, training={**training, "precision": "int8"})
    bundle = write_bundle(bundle.folder, info)
    after = _nme(bundle, folder)
    kept = after - before < MOST_GROWTH
    if not kept:
        whole.replace(eight)
        bundle = write_bundle(bundle.folder, replace(info, training=training))
    return Quantised(bundle, kept, before, after)


def _measure(bundle: Bundle, folder: Path) -> HeldOut:
    return measure_shards(folder, bundle, Estimator(bundle, "60", 1), _nothing, degraded=False)


def _nme(bundle: Bundle, folder: Path) -> float:
    values = [face.nme for face in _measure(bundle, folder).faces if face.nme is not None]
    if not values:
        raise InputError(f"{folder}: no face in it to judge by")
    return float(np.mean(values))


def _crops(folder: Path) -> np.ndarray:
    """Nominal crops spread over the shards of a folder, (n, 120, 120, 3) uint8 BGR."""
    shards = ShardFolder(folder, validation=1_000_000).validation
    total = sum(len(shard) for shard in shards)
    step = max(1, total // _CALIBRATION_CROPS)
    start = (shards[0].images.shape[1] - CROP_SIZE) // 2
    middle = slice(start, start + CROP_SIZE)
    return np.concatenate([np.array(shard.images[::step, middle, middle]) for shard in shards])


def _nothing() -> None:
    """No progress to show."""
