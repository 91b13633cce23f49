"""What ``summary.py`` reads out of the benches of speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from summary_figures import Figure, Goal, Results

FRAME_MS: Final = 1000.0 / 30.0
LATENCY_MS: Final = (8.0, 20.0)
"""Wanted of the median and of the 99th percentile, from capture to a subscriber."""


def tracked_frame(results: Results) -> list[Figure]:
    """The whole against the network alone, and the stages' shares of it."""
    times = results["tracked_frame"]["median_and_99th_ms"]
    (whole, _), (floor, _) = times["whole"], times["floor"]
    rows = [Figure("a tracked frame", whole / floor, "the network alone", _ms(times["whole"]))]
    stages = [name for name in times if name not in ("whole", "floor")]
    return rows + [
        Figure(f"of it: {name}", times[name][0] / whole, "a tracked frame", _ms(times[name]))
        for name in stages
    ]


def face_work(results: Results) -> list[Figure]:
    """A tracked frame's work against what took turns with it."""
    found = results["face_work"]
    times, quartiles = found["median_and_99th_ms"], found["quartiles_of_ratio"]
    wanted = {"MediaPipe": Goal(most=1 / 3), "bare loop": Goal(most=1.3)}
    names = {
        "MediaPipe": "MediaPipe Face Landmarker's, with blendshapes",
        "bare loop": "a bare 3DDFA_V2-style loop's around the same network",
        "other bundle": "mien's with the 3DDFA_V2 bundle",
    }
    return [
        Figure(
            "a tracked frame's work",
            middle,
            names[name],
            f"{times['mien'][0]:.2f} against {times[name][0]:.2f} ms "
            f"(quartiles {low:.3f} to {high:.3f})",
            wanted.get(name),
        )
        for name, (low, middle, high) in quartiles.items()
    ]


def network(results: Results) -> list[Figure]:
    (found,) = results["network"]["bundles"]
    times = f"{found['median_ms']:.3f} against {found['peer_median_ms']:.3f} ms"
    peer = "3DDFA_V2's network of the same width, in single precision"
    name = f"the network, in {found['precision']}"
    return [
        Figure(name, found["of_the_peer"], peer, times, Goal(most=1.0)),
        Figure(
            "all its other heads", found["heads_add"], "its parameters alone", "", Goal(most=0.1)
        ),
    ]


def perspective(results: Results) -> list[Figure]:
    ours, peer = (results["perspective"][name] for name in ("inverse", "PnP"))
    units = {"median_rotation_deg": "deg", "median_distance_percent": "%", "median_us": "us"}
    names = ("error of rotation", "error of distance", "time")
    return [
        Figure(
            f"pose from the network's matrix: {name}",
            ours[key] / peer[key],
            "OpenCV's solvePnP from the same matrix",
            f"{ours[key]:.3g} against {peer[key]:.3g} {unit}",
        )
        for name, (key, unit) in zip(names, units.items(), strict=True)
    ]


def outputs(results: Results) -> list[Figure]:
    found = results["outputs"]
    rows = [
        Figure(
            "all outputs together" if name == "all" else f"output {name}",
            middle * 1e-3 / FRAME_MS,
            "the time between frames at 30 a second",
            f"{middle:.0f} us, 99th percentile {high:.0f}",
        )
        for name, (middle, high) in found["median_and_99th_us"].items()
    ]
    return rows + [
        Figure(f"output {name}", None, "", why) for name, why in found["refused"].items()
    ]


def wire(results: Results) -> list[Figure]:
    """Publishing and receiving, against ZeroMQ alone with ready bytes."""
    found = results["wire"]
    times = found["median_and_99th_us"]
    pairs = {
        "write frame and pose": "floor: send ready bytes",
        "from publishing to checked": "floor: send and receive them",
    }
    rows = [
        Figure(
            name,
            times[name][0] / times[floor][0],
            f"ZeroMQ's {floor.removeprefix('floor: ')}",
            f"{times[name][0]:.0f} against {times[floor][0]:.0f} us",
        )
        for name, floor in pairs.items()
    ]
    return [*rows, Figure("a publisher that idles", found["idle_share_of_a_core"], "a core")]


def live(results: Results) -> list[Figure]:
    """Latency against what is wanted, MediaPipe's, and stage by stage."""
    run, peers = results["live"]["runs"][0], results["live"]["mediapipe"]
    named = ("median", "99th percentile")
    rows = [
        Figure(
            f"capture to a subscriber, {name}",
            ours / wanted,
            f"the {wanted:g} ms that are wanted",
            f"{ours:.2f} ms at {run['rate']:g} frames a second",
            Goal(most=1.0),
        )
        for name, ours, wanted in zip(named, run["median_99th_max_ms"], LATENCY_MS, strict=False)
    ]
    for peer in peers:
        both = zip(named, run["median_99th_max_ms"], peer["median_99th_max_ms"], strict=False)
        rows += [
            Figure(
                f"capture to a subscriber, {name}",
                ours / theirs,
                "MediaPipe's, to its result in its own process",
                f"{ours:.2f} against {theirs:.2f} ms",
            )
            for name, ours, theirs in both
        ]
    core = run["core_besides_decoding"]
    rows.append(Figure("work besides decoding", core, "a core", "", Goal(most=0.2)))
    rows.append(Figure("frames lost", run["lost"], "all frames"))
    stages = run["stages_median_and_99th_ms"]
    return rows + [
        Figure(
            f"of it: {name}",
            times[0] / stages["total"][0],
            "capture to published, by the tracker's own account",
            f"{times[0]:.2f} ms",
        )
        for name, times in stages.items()
        if name != "total"
    ]


def annotate(results: Results) -> list[Figure]:
    """Rates once begun: in a clip as short as this bench's, beginning would count for most."""
    found = results["annotate"]
    rows = []
    for size in [name for name in found if "x" in name and name[0].isdigit()]:
        rates = found[size]["frames_a_second"]
        for pair, ratio in found[size]["ratios_once_begun"].items():
            ours, theirs = pair.split(" over ")
            rival = theirs.rpartition(", ")[0] or theirs
            rows.append(
                Figure(
                    f"mien annotate, {size}, {ours[-1]} thread{'s' * (ours[-1] != '1')}",
                    ratio,
                    RIVALS[rival],
                    f"{rates[ours]:.0f} against {rates[theirs]:.0f} frames a second",
                    BATCH_GOALS.get((size, rival)),
                )
            )
    two, ratio = (
        "mien annotate, two workers of one thread",
        found["two workers over one, once begun"],
    )
    rows.append(Figure(two, ratio, "one worker's rate", "", Goal(least=1.7)))
    machine = "two serial loops at once: what the second core is worth"
    return [*rows, Figure(machine, found["two loops over one, once begun"], "one loop's rate", "")]


RIVALS: Final = {
    "decoding": "decoding alone with as many threads",
    "serial loop": "a serial 3DDFA_V2-style loop with our network",
    "MediaPipe": "MediaPipe Face Landmarker's Python loop",
}
BATCH_GOALS: Final = {
    ("640x480", "decoding"): Goal(least=0.6),
    ("640x480", "serial loop"): Goal(least=1.2),
    ("640x480", "MediaPipe"): Goal(least=4.0),
    ("1920x1080", "decoding"): Goal(least=0.5),
}


def _ms(median_and_99th: Sequence[float]) -> str:
    return f"{median_and_99th[0]:.3f} ms, 99th percentile {median_and_99th[1]:.2f}"
