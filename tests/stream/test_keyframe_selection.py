"""Which of the scored frames are chosen, for each purpose."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from mien.stream.keyframes.scoring import Candidate
from mien.stream.keyframes.selection import Pool, Purpose, choose

Rng = np.random.default_rng


def candidate(
    frame: int,
    expression: np.ndarray | None = None,
    look: tuple[float, float] = (0.0, 0.0),
    **parts: float,
) -> Candidate:
    """25 frames a second; good in every part but those that are given."""
    return of_parts(frame, parts, expression, look)


def of_parts(
    frame: int,
    parts: dict[str, float],
    expression: np.ndarray | None = None,
    look: tuple[float, float] = (0.0, 0.0),
) -> Candidate:
    names = ("sharp", "size", "frontal", "level", "eyes", "confidence", "inside", "body")
    yaw, pitch = np.radians(look)
    way = np.array([-np.sin(yaw), -np.sin(pitch) * np.cos(yaw), -np.cos(pitch) * np.cos(yaw)])
    vector = np.zeros(52, np.float32) if expression is None else expression.astype(np.float32)
    return Candidate(frame, frame / 25, dict.fromkeys(names, 0.8) | parts, way, vector, 0.5)


@pytest.mark.parametrize("part", ["sharp", "frontal", "eyes", "confidence", "size"])
def test_a_portrait_is_good_in_every_part(part: str) -> None:
    film = [of_parts(i, {} if i in (40, 90) else {part: 0.3}) for i in range(120)]
    assert {choice.candidate.frame for choice in choose(film, "portrait", 2)} == {40, 90}


def test_a_portrait_is_neutral() -> None:
    grin = np.zeros(52)
    grin[43:45] = 0.8
    film = [candidate(i, None if 50 <= i < 70 else grin) for i in range(80)]
    (choice,) = choose(film, "portrait", 1)
    assert 50 <= choice.candidate.frame < 70


def test_key_frames_are_apart_in_time_as_far_as_there_is_time() -> None:
    film = [candidate(i, sharp=0.9 - 0.0001 * abs(i - 60)) for i in range(120)]
    frames = sorted(choice.candidate.frame for choice in choose(film, "portrait", 4))
    assert 60 in frames
    assert all(b - a >= 25 for a, b in pairwise(frames))
    short = sorted(choice.candidate.frame for choice in choose(film[:6], "portrait", 6))
    assert len(short) == 2  # three frames are a tenth of a second
    assert short[1] - short[0] >= 3


def test_an_avatar_gets_a_neutral_face_and_then_each_expression() -> None:
    rng = Rng(1)
    kinds = rng.uniform(0, 0.9, (4, 52)) * (rng.random((4, 52)) < 0.2)
    kinds[0] = 0.0
    film = [
        candidate(i, np.abs(kinds[i // 50] + rng.normal(0, 0.01, 52)), sharp=0.7 + i % 7 / 70)
        for i in range(200)
    ]
    choices = choose(film, "avatar", 4)
    assert choices[0].candidate.frame < 50
    assert {choice.candidate.frame // 50 for choice in choices} == {0, 1, 2, 3}
    # A different one that is out of focus is no good.
    film[120] = candidate(120, np.full(52, 0.9), sharp=0.02)
    assert 120 not in [choice.candidate.frame for choice in choose(film, "avatar", 4)]


def test_coverage_spreads_over_yaw_and_pitch() -> None:
    film = []
    for yaw in range(-60, 61, 5):
        for pitch in range(-30, 31, 5):
            frontal = 1 / (1 + (yaw**2 + pitch**2) / 400)
            film.append(candidate(3 * len(film), look=(yaw, pitch), frontal=frontal))
    choices = choose(film, "coverage", 9)
    looks = np.array([choice.candidate.look for choice in choices])
    np.testing.assert_allclose(looks[0], [0, 0, -1], atol=1e-9)  # the most frontal one first
    cosines = looks @ looks.T - 2 * np.eye(9)
    assert np.degrees(np.arccos(cosines.max())) > 20  # chosen by chance: under 10
    assert np.ptp(np.degrees(np.arctan2(looks[:, 0], -looks[:, 2]))) > 110
    # Where nothing differs there is nothing to cover.
    assert len(choose([candidate(50 * i) for i in range(5)], "coverage", 5)) == 1


@pytest.mark.parametrize("purpose", ["portrait", "avatar", "body", "coverage"])
def test_the_pool_is_bounded_and_keeps_the_best(purpose: Purpose) -> None:
    rng = Rng(2)
    pool = Pool(purpose, kept=100)
    for i in range(5000):
        pool.add(candidate(i, sharp=0.99 if i in (1234, 4321) else 0.8 * rng.random()))
    assert len(pool.candidates) <= 100
    assert pool.seen == 5000
    frames = [one.frame for one in pool.candidates]
    assert frames == sorted(frames)
    assert {1234, 4321} <= set(frames)
    assert max(b - a for a, b in pairwise(frames)) < 200  # nowhere is a hole
