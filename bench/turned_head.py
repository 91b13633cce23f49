"""How far is a head in Pointing'04 really turned, and how far does mien say it is?

    python bench/turned_head.py POINTING04 [--bundle DIR]

The set's labels are where people were told to look. Moles, glasses, ear, corners of the mouth and
wing of the nose were marked by hand in one man's five pictures to either side
(``turned_head_points.json``). From these points alone follow both the head's shape and its turns,
by bundle adjustment with scaled orthographic cameras (Tomasi and Kanade 1992, with scale): no face
model and no network has a say. Turns are about the picture's vertical, from the picture whose label
is 0; +- is one standard deviation, from how badly the points fit. Needs scipy (filterpy brings it).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float64
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from mien.models.errors import LabelError
from mien.models.face.bundle import Bundle
from mien.tools.evaluate.estimator import Estimator
from mien.tools.evaluate.labels import LabelledImage, read_labels

POINTS = Path(__file__).with_name("turned_head_points.json")
SCALE_SD = 0.03
"""How much nearer or farther the head may come as it turns; points that do not fit weigh more."""
STARTS = 8


@dataclass(frozen=True)
class Series:
    """Pictures of one head with what was marked in them.

    Attributes:
        pictures: names; the first has label 0.
        points: (V, P, 2) px; NaN where a point is hidden.
    """

    pictures: list[str]
    points: Float64[np.ndarray, "V P 2"]

    @classmethod
    def of(cls, marked: dict[str, dict[str, list[float]]]) -> Series:
        names = sorted({name for points in marked.values() for name in points})
        hidden = [float("nan")] * 2
        points = [[picture.get(name, hidden) for name in names] for picture in marked.values()]
        return cls(list(marked), np.array(points, np.float64))


def turns_deg(
    series: Series, labels_deg: Float64[np.ndarray, " V"]
) -> tuple[Float64[np.ndarray, " V"], Float64[np.ndarray, " V"], float]:
    """How far each picture's head is turned about the vertical, from marked points alone.

    Minimises the distances in the pictures of ``exp(s_v) [R_v X_p]_xy + t_v`` from the points, over
    shape X, rotations R, translations t and log scales s, which are held near zero.

    Args:
        series: the marked points.
        labels_deg: (V,) where the search begins, at several shares of them, and to which side the
            head turns: without perspective its mirror image in depth, turned to the other side,
            fits as well.

    Returns:
        (V,) turns from the first picture, degrees, signed as the labels; (V,) their standard
        deviations, degrees; and the rms of the fit, px.
    """
    views, count = series.points.shape[:2]
    seen = ~np.isnan(series.points[..., 0])
    middle = np.nanmean(series.points, axis=1)

    def unpack(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shape, cameras = np.split(values, [3 * count])
        return shape.reshape(count, 3), cameras.reshape(views, 6)

    def errors(values: np.ndarray) -> np.ndarray:
        shape, cameras = unpack(values)
        turned = np.einsum("vij,pj->vpi", Rotation.from_rotvec(cameras[:, :3]).as_matrix(), shape)
        drawn = np.exp(cameras[:, 3])[:, None, None] * turned[..., :2] + cameras[:, None, 4:]
        apart = (drawn - series.points)[seen].ravel()
        # What the points leave open: the first camera is the frame, its points lie about zero.
        frame = 1e3 * np.concatenate([cameras[0, :4], shape.mean(0)])
        return np.concatenate([apart, cameras[1:, 3] / SCALE_SD, frame])

    best = None
    for number in range(STARTS):
        rng = np.random.default_rng(number)
        shape = np.zeros((count, 3))
        shape[:, :2] = np.nan_to_num(series.points[0] - middle[0])
        shape[:, 2] = 0.8 * np.abs(shape[:, 0]) + rng.normal(0, 15, count)
        cameras = np.zeros((views, 6))
        cameras[:, 1] = np.radians(labels_deg) * rng.uniform(0.5, 1.0)
        cameras[:, 4:] = middle
        start = np.concatenate([(shape - shape.mean(0)).ravel(), cameras.ravel()])
        found = least_squares(errors, start, loss="soft_l1")
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None
    _, cameras = unpack(best.x)
    facing = Rotation.from_rotvec(cameras[:, :3]).apply([0.0, 0.0, -1.0])
    apart = errors(best.x)[: 2 * seen.sum()]
    free = apart.size + views - 1 - (3 * count + 6 * views - 7)
    spread = np.linalg.pinv(best.jac.T @ best.jac) * (apart**2).sum() / free
    about_vertical = 3 * count + 6 * np.arange(views) + 1
    turns = np.degrees(np.arctan2(-facing[:, 0], -facing[:, 2]))
    return (
        turns if turns @ labels_deg >= 0 else -turns,
        np.degrees(np.sqrt(np.diag(spread)[about_vertical])),
        float(np.sqrt((apart**2).mean())),
    )


def read_turns_deg(
    estimator: Estimator, pictures: list[LabelledImage]
) -> Float64[np.ndarray, " V"]:
    """What mien reads, from what it reads in the first picture, in the same terms."""
    turns = []
    for picture in pictures:
        image = cv2.imread(str(picture.path))
        if image is None:
            raise SystemExit(f"{picture.path}: cannot be read")
        (seen,) = estimator.at_truth(image, picture.faces)
        turns.append(np.nan if seen is None else seen.pan_deg)
    return np.array(turns) - turns[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="pointing04, with labels.jsonl")
    parser.add_argument("--bundle", type=Path)
    options = parser.parse_args()
    bundle = Bundle.load(options.bundle) if options.bundle else Bundle.default()
    estimator = Estimator(bundle, "60", 1)
    try:
        labelled = {one.path.name: one for one in read_labels(options.folder)}
    except LabelError as error:
        parser.error(str(error))
    for name, marked in json.loads(POINTS.read_text()).items():
        series = Series.of(marked)
        absent = [picture for picture in series.pictures if picture not in labelled]
        if absent:
            parser.error(f"{options.folder}: no label of {absent[0]}; expected pointing04")
        pictures = [labelled[picture] for picture in series.pictures]
        labels = np.array([float(picture.faces[0].yaw_deg or 0.0) for picture in pictures])
        true, spread, rms = turns_deg(series, labels)
        said = read_turns_deg(estimator, pictures)
        print(f"\n{name}; the points fit to {rms:.2f} px\n")
        print("| label | truly turned | mien reads | too far by |\n|---:|---:|---:|---:|")
        for row in zip(labels, true, spread, said, strict=True):
            more = np.sign(row[0]) * (row[3] - row[1])
            # No minus before a zero.
            label, turn, sd, read, more = (round(float(x), 1) + 0.0 for x in (*row, more))
            print(f"| {label:.0f} | {turn:.1f} ± {sd:.1f} | {read:.1f} | {more:+.1f} |")


if __name__ == "__main__":
    main()
