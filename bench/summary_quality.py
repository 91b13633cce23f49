"""What ``summary.py`` reads out of ``mien evaluate`` and the bench of smoothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from summary_figures import Figure, Goal, Results

SMOOTHER_US: Final = 60.0
LAG_MS: Final = 10.0
CLIP_JITTER: Final = {
    "rigid": "real clips, jitter of still heads",
    "beside": "real clips, jitter of still heads beside the picture's own",
}
RECORDED: Final = {
    "helen": {"faces": 160, "nme": 3.75, "nme_without_jaw": 3.04, "mediapipe_median": 3.19},
    "dlib": {"faces": 43, "nme": 3.45, "nme_without_jaw": 2.72},
    "pointing04": {"faces": 130, "yaw": 9.7, "yaw to 60": 5.8, "pitch": 8.4},
}
"""Errors of 3DDFA_V2's released x0.5 weights (%, degrees) and MediaPipe's, measured once on these
very pictures: on others they say nothing."""


def landmarks(name: str, results: Results) -> list[Figure]:
    """Errors by labelled boxes, against 3DDFA_V2's and MediaPipe's on the same pictures."""
    summary = results[name]["summary"]
    peer = RECORDED[name]
    rows = []
    for key, what in (("nme", "landmarks"), ("nme_without_jaw", "landmarks without jaw")):
        ours = summary[key]["mean"]
        if summary["faces"] != peer["faces"]:
            of, ratio, against, goal = "the face's size", ours / 100.0, "", None
        else:
            of, ratio = "3DDFA_V2's x0.5 weights, recorded", ours / peer[key]
            against, goal = f" against {peer[key]:.2f} %", Goal(most=1.0)
        rows.append(Figure(f"{name}, {what}", ratio, of, f"{ours:.2f} %{against}", goal))
    if summary["faces"] == peer["faces"] and "mediapipe_median" in peer:
        ours, theirs = summary["nme"]["median"], peer["mediapipe_median"]
        text = f"{ours:.2f} against {theirs:.2f} %"
        of = "MediaPipe Face Landmarker's, recorded"
        rows.append(Figure(f"{name}, landmarks, median", ours / theirs, of, text))
    return rows


def pointing04(results: Results) -> list[Figure]:
    summary = results["pointing04"]["summary"]
    peer = RECORDED["pointing04"]
    by_yaw, counts = summary["yaw"]["by_yaw"], summary["yaw"]["count_by_yaw"]
    near = [name for name in ("0-30", "30-60") if counts[name]]
    inner = sum(by_yaw[name] * counts[name] for name in near) / sum(counts[name] for name in near)
    found = {"yaw": summary["yaw"]["mean"], "yaw to 60": inner, "pitch": summary["pitch"]["mean"]}
    if summary["faces"] != peer["faces"]:
        return [
            Figure(f"pointing04, {name}", value / 90.0, "a right angle", f"{value:.2f} degrees")
            for name, value in found.items()
        ]
    return [
        Figure(
            f"pointing04, {name}",
            value / peer[name],
            "3DDFA_V2's x0.5 weights, recorded",
            f"{value:.2f} against {peer[name]:.1f} degrees",
            Goal(most=1.0),
        )
        for name, value in found.items()
    ]


def detection(results: Results) -> list[Figure]:
    summary = results["dlib_found"]["summary"]
    words = f"{summary['found']} of {summary['faces']}, {summary['false_detections']} false"
    ratio = summary["found"] / summary["faces"]
    return [Figure("dlib, faces found by itself", ratio, "all faces", words, Goal(least=41 / 43))]


def noface(results: Results) -> list[Figure]:
    summary = results["noface"]["summary"]
    false, images = summary["false_detections"], summary["images"]
    of, words = "pictures without a face", f"{false} in {images}"
    return [Figure("false detections", false / images, of, words, Goal(most=0.0))]


STILL: Final = ("rotation", "translation", "landmarks")
UNITS: Final = {"rotation": "deg", "translation": "mm", "landmarks": "% of the box"}


def smoothing(results: Results) -> list[Figure]:
    """Steadiness and lag against what is not smoothed, and against One Euro."""
    found = results["smoothing"]
    rows = [row for name in STILL for row in _steadiness(name, found[name])]
    rows += [row for name in (*STILL, "blendshapes") for row in _one_euro(name, found[name])]
    for title in ("mien responsive", "mien, offline responsive"):
        kept = found["blinks"][title][0]
        what = f"height of blinks, {_way(title)}"
        rows.append(Figure(what, kept, "unsmoothed", "", Goal(least=0.9)))
    nees = zip(("rotation", "translation"), found["nees"]["mien responsive"], strict=True)
    for name, value in nees:
        what, of = f"squared error of {name}", "the stated variance"
        rows.append(Figure(what, value, of, "", Goal(least=0.7, most=1.4)))
    middle, high = found["median_and_99th_us"]["responsive"]
    text = f"{middle:.0f} us, 99th percentile {high:.0f}"
    of = f"the {SMOOTHER_US:g} us a face that are wanted"
    rows.append(Figure("the smoother's work", middle / SMOOTHER_US, of, text, Goal(most=1.0)))
    for name in ("responsive", "steady", "offline") if "clips" in found else ():
        for key, what in CLIP_JITTER.items():
            ratio = found["clips"][name][key] / found["clips"]["raw"][key]
            rows.append(Figure(f"{what}, {name}", ratio, "unsmoothed", "", Goal(most=1 / 3)))
    return rows


def _way(title: str) -> str:
    """ "mien, offline responsive" in words."""
    family, _, strength = title.rpartition(" ")
    return f"{strength} in two passes" if "offline" in family else strength


def _steadiness(name: str, ways: Mapping[str, Any]) -> list[Figure]:
    raw, rows = ways["raw"], []
    wanted: Sequence[tuple[str, str, str, float]] = (
        ("mien responsive", "fast", "error about its mean of a second", 0.6),
        ("mien, offline responsive", "fast", "error about its mean of a second", 0.45),
        ("mien responsive", "jitter", "jitter of a still head", 0.25),
        ("mien steady", "jitter", "jitter of a still head", 0.25),
    )
    for title, key, words, most in wanted:
        way = ways[title]
        rows.append(
            Figure(
                f"{name}: {words}, {_way(title)}",
                way[key] / raw[key],
                "unsmoothed",
                f"{way[key]:.3g} against {raw[key]:.3g} {UNITS[name]}",
                Goal(most=most),
            )
        )
    for title in ("mien responsive", "mien steady"):
        later = ways[title]["delay_ms"] - raw["delay_ms"]
        of, text = f"the {LAG_MS:g} ms that are allowed", f"{later:.1f} ms"
        what = f"{name}: lag, {_way(title)}"
        rows.append(Figure(what, later / LAG_MS, of, text, Goal(most=1.0)))
    return rows


def _one_euro(name: str, ways: Mapping[str, Any]) -> list[Figure]:
    own = {title: way for title, way in ways.items() if "one_euro_swept" in way}
    better = sum(way["one_euro_better"] for way in own.values())
    swept = sum(way["one_euro_swept"] for way in own.values())
    rows = [
        Figure(
            f"{name}: settings of One Euro that are better in both lag and jitter",
            better / swept,
            "all its settings, against both strengths",
            f"{better} of {swept}",
            Goal(most=0.0),
        )
    ]
    for title, way in own.items():
        if way["one_euro_jitter"]:  # else no setting lags as little
            ratio = way["jitter"] / way["one_euro_jitter"]
            of = "One Euro's steadiest setting that lags no more"
            rows.append(Figure(f"{name}: jitter, {_way(title)}", ratio, of, "", Goal(most=1.0)))
    return rows


def landmarks_of_bundle(results: Results) -> list[Figure]:
    """Accuracy beside a 3DDFA_V2 bundle, on the same pictures."""
    ours, theirs = (results[name]["summary"] for name in ("helen", "helen_3ddfa"))
    return [
        Figure(
            f"helen, {what}",
            ours[key]["mean"] / theirs[key]["mean"],
            "the 3DDFA_V2 bundle's",
            f"{ours[key]['mean']:.2f} against {theirs[key]['mean']:.2f} %",
            Goal(most=1.0),
        )
        for key, what in (("nme", "landmarks"), ("nme_without_jaw", "landmarks without jaw"))
    ]


def smoothing_of_bundle(results: Results) -> list[Figure]:
    """Steadiness beside a 3DDFA_V2 bundle, on the same films."""
    ours, theirs = results["smoothing"], results["smoothing_3ddfa"]
    return [
        Figure(
            f"{name}: {words}, {way}",
            ours[name][title][key] / theirs[name][title][key],
            "the 3DDFA_V2 bundle's",
            f"{ours[name][title][key]:.3g} against {theirs[name][title][key]:.3g} {UNITS[name]}",
        )
        for name in ("rotation", "landmarks")
        for title, way in (("raw", "unsmoothed"), ("mien responsive", "responsive"))
        for key, words in (("jitter", "jitter of a still head"),)
    ]
