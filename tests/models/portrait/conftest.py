"""A small folder of portraits made without a renderer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mien.models.portrait import sh
from mien.models.portrait.cameras import orbit_label
from mien.models.portrait.synthesize import light_words, person_path, view_properties

LOOKS, VIEWS, SIZE = 2, 2, 32


@pytest.fixture(scope="session")
def portrait_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four persons, two looks, two views, 32 px: discs of a colour each, lit from one side."""
    folder = tmp_path_factory.mktemp("portraits")
    rng = np.random.default_rng(0)
    meta = {"kind": "portraits", "version": 1, "size": SIZE, "looks": LOOKS, "views": VIEWS}
    (folder / "meta.json").write_text(json.dumps(meta))
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    disc = np.hypot(rows - 15.5, columns - 15.5) < 12
    for number in range(4):
        colour = rng.integers(60, 200, 3)
        labels = np.stack(
            [[orbit_label(float(a), 0.0) for a in rng.uniform(-0.6, 0.6, VIEWS)]
             for _ in range(LOOKS)]
        )  # fmt: skip
        lights = np.stack([sh.named_light(str(n)) for n in rng.choice(sh.LIGHT_NAMES, LOOKS)])
        grain = rng.uniform(0.6, 1.0, (LOOKS, VIEWS, SIZE, SIZE, 1))
        looks = []
        for light, cameras in zip(lights, labels, strict=True):
            rgb = np.repeat(light[:, None], 3, 1)
            looks.append(
                {
                    "age": "old" if number % 2 else "young",
                    "gender": "male",
                    "age_years": 50.0,
                    "words": light_words(rgb),
                    "views": [
                        view_properties(rgb, camera.astype(np.float64)) for camera in cameras
                    ],
                }
            )
        np.savez(
            person_path(folder, number),
            images=(disc[..., None] * colour * grain).astype(np.uint8),
            mask=np.broadcast_to(255 * disc, (LOOKS, VIEWS, SIZE, SIZE)).astype(np.uint8),
            cameras=labels.astype(np.float32),
            light=lights.astype(np.float32),
            attributes=np.array(json.dumps(looks)),
            identity=np.array(number, np.int32),
        )
    return folder
