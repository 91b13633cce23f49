"""How far off is a pose from exact labels: the inverse of the orthography, PnP, the ray alone?

    python bench/perspective.py [--json FILE]

Poses fill a 60-degree view from 350 mm to 3 m, with yaw to +-90 degrees; labels are exact.
"""

from __future__ import annotations

import argparse
import platform
import time
from importlib import resources
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
from figures import add_json_option, system, write_figures

from mien.models.face.camera import Camera
from mien.models.face.crop import crop_from_landmarks
from mien.models.face.morphable import FaceModel
from mien.models.face.perspective import (
    apply_orthography,
    fit_perspective,
    nearest_scaled_orthography,
    orthography_to_image,
    split_orthography,
)
from mien.models.face.quadrature import Quadrature
from mien.models.face.rotation import (
    angle_between_deg,
    matrix_from_rotation_vector,
    matrix_from_yaw_pitch_roll,
    rotation_between,
    rotation_vector_from_matrix,
)

POSES = 1500
SETTLING = 20
FORWARD = np.array([0.0, 0.0, 1.0])
Errors = dict[str, list[tuple[float, float]]]
Times = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_json_option(parser)
    options = parser.parse_args()
    errors, times = compare()
    report(errors, times)
    figures = {
        name: {
            "median_rotation_deg": np.median([angle for angle, _ in errors[name]]),
            "median_distance_percent": np.median([far for _, far in errors[name]]),
            "median_us": 1e6 * np.median(clock[SETTLING:]),
        }
        for name, clock in times.items()
    }
    write_figures(options.json, figures)


def compare() -> tuple[Errors, Times]:
    """Errors in degrees and percent, and seconds, of each way."""
    model = FaceModel.load(
        Path(str(resources.files("mien.models.weights.default"))) / "face_model.npz"
    )
    quadrature = Quadrature.of(model)
    camera = Camera.from_fov(640, 480)
    rng = np.random.default_rng(0)
    errors: Errors = {"inverse": [], "PnP": [], "ray alone": []}
    times: Times = {"inverse": [], "PnP": []}
    for _ in range(POSES):
        depth = np.exp(rng.uniform(np.log(350.0), np.log(3000.0)))
        ray = camera.ray(rng.uniform([0.0, 0.0], [639.0, 479.0]))
        angles = rng.uniform([-90.0, -40.0, -40.0], [90.0, 40.0, 40.0])
        R = rotation_between(FORWARD, ray) @ matrix_from_yaw_pitch_roll(angles)
        t = ray / ray[2] * depth
        shape = rng.normal(size=40).astype(np.float32)
        blendshapes = rng.uniform(0.0, 0.5, 52).astype(np.float32)
        vertices = model.decode(shape, None, blendshapes).astype(np.float64)
        marks = vertices[model.landmark_vertices]
        pixels = camera.project(vertices @ R.T + t)
        crop = crop_from_landmarks(pixels[model.landmark_vertices])
        label = nearest_scaled_orthography(vertices, crop.from_image(pixels))
        points = quadrature.points.decode(shape, None, blendshapes)

        start = time.perf_counter()
        pose = fit_perspective(label, crop, camera, points, quadrature.weights)
        times["inverse"].append(time.perf_counter() - start)
        own, scale, shift = split_orthography(orthography_to_image(label, crop))
        line = camera.ray(shift)
        turned, place = rotation_between(FORWARD, line) @ own, line / line[2] * camera.fx / scale

        start = time.perf_counter()
        flat = crop.to_image(apply_orthography(label, marks))
        _, vector, moved = cv2.solvePnP(
            marks,
            flat,
            camera.matrix,
            None,
            rvec=rotation_vector_from_matrix(turned),
            tvec=place.copy(),
            useExtrinsicGuess=True,
        )
        times["PnP"].append(time.perf_counter() - start)
        found = {
            "inverse": (pose.rotation, pose.translation_mm),
            "PnP": (matrix_from_rotation_vector(vector.reshape(3)), moved.reshape(3)),
            "ray alone": (turned, place),
        }
        for name, (rotation, translation) in found.items():
            relative = float(np.linalg.norm(translation) / np.linalg.norm(t))
            angle = float(angle_between_deg(rotation, R))
            errors[name].append((angle, 100.0 * abs(relative - 1.0)))
    return errors, times


def report(errors: Errors, times: Times) -> None:
    """Print the table."""
    print(f"{system()}, Python {platform.python_version()}, numba {version('numba')}")
    print(f"{'':<12}{'rotation, deg':>24}{'distance, %':>24}{'time, us':>18}")
    print(f"{'':<12}" + f"{'median':>8}{'99th':>8}{'worst':>8}" * 2 + f"{'median':>9}{'99th':>9}")
    for name, pairs in errors.items():
        both = [np.percentile(column, [50, 99, 100]) for column in np.array(pairs).T]
        text = "".join(f"{value:>8.3f}" for value in np.concatenate(both))
        clock = times.get(name, [])[SETTLING:]
        if clock:
            text += "".join(f"{1e6 * v:>9.0f}" for v in np.percentile(clock, [50, 99]))
        print(f"{name:<12}{text}")


if __name__ == "__main__":
    main()
