"""The statistical head: found again in grids, moved as its units say, guiding a denoiser."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")

from mien.models.avatar.dataset import CLEAN
from mien.models.avatar.figures import distance_at
from mien.models.avatar.guide import Guide
from mien.models.avatar.sample import Guided, NeutralScan, generate
from mien.models.avatar.weights import load_weights, save_weights
from mien.models.errors import InputError
from mien.models.scans.box import FaceBox
from mien.models.scans.placing import HeadPlacer, Membrane
from mien.models.scans.template import TEMPLATE, HeadTemplate
from mien.models.scans.truth import TruthGrids

CENTRE = np.array([0.0, 30.0, 40.0], np.float32)
RADII = np.array([45.0, 50.0, 40.0], np.float32)
BOX = FaceBox(32)
SEEN = np.full(BOX.shape, CLEAN, np.uint8)
TALLER, WIDER = np.eye(52, dtype=np.float32)[:2]


def sphere(rings: int = 24, sides: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of a unit sphere, and triangles that are counter-clockwise from outside."""
    polar, round_ = np.linspace(0, np.pi, rings), np.arange(sides) * 2 * np.pi / sides
    vertices = np.stack(
        [
            np.outer(np.sin(polar), np.cos(round_)),
            np.outer(np.sin(polar), np.sin(round_)),
            np.outer(np.cos(polar), np.ones(sides)),
        ],
        -1,
    ).reshape(-1, 3)
    here = np.arange((rings - 1) * sides)
    beside = here - here % sides + (here + 1) % sides
    quads = np.stack([here, here + sides, beside + sides, beside], 1)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return vertices.astype(np.float32), triangles.astype(np.int32)


@pytest.fixture(scope="module")
def template() -> HeadTemplate:
    """Ellipsoids: components lengthen the axes, the first units make them taller and wider."""
    ball, triangles = sphere()
    axes = np.eye(3, dtype=np.float32)
    units = np.zeros((52, len(ball), 3), np.float32)
    units[0], units[1] = 25 * ball * axes[1], 25 * ball * axes[0]
    one, all_ = np.zeros(1, np.int32), np.arange(len(ball), dtype=np.int32)
    membrane = Membrane(one, one, np.ones((1, 1), np.float32))
    return HeadTemplate(
        mean=CENTRE + RADII * ball,
        shapes=np.stack([5 * ball * axis for axis in axes]),
        units=units,
        triangles=triangles,
        kinds=np.zeros(len(triangles), np.uint8),
        parts=np.array([[0, len(triangles)]], np.int32),
        seen=all_,
        placer=HeadPlacer(
            membrane, membrane, membrane, (one, one), np.zeros(6, np.int32), (one, one)
        ),
    )


def grid(template: HeadTemplate, vertices: np.ndarray, box: FaceBox = BOX) -> np.ndarray:
    return TruthGrids(box, template).distance(vertices.astype(np.float32))[0]


def test_a_head_is_found_again_in_its_grid(template: HeadTemplate) -> None:
    guide = Guide(template, BOX)
    for shape in ([0.0, 0, 0], [1.5, -1, 0.5], [-1, 0.5, 2]):
        true = template.neutral(np.array(shape, np.float32))
        sdf = grid(template, true)
        fitted = guide.fit(sdf, SEEN)
        assert np.abs(fitted.scanned - true).max() < 1.0
        # Lengths differ by a deviation of 5 mm, of which the prior keeps little.
        assert np.linalg.norm(fitted.neutral - true, axis=1).mean() < 1.5


def test_where_the_scan_lies_is_told_from_what_the_face_is(template: HeadTemplate) -> None:
    guide = Guide(template, BOX)
    true = template.neutral(np.array([1.0, -1.0, 0.5], np.float32))
    moved = true + np.array([0.8, -1.0, 0.6], np.float32)
    fitted = guide.fit(grid(template, moved), SEEN)
    assert distance_at(grid(template, moved), fitted.scanned).mean() < 0.5
    off = (fitted.neutral - true).mean(0)
    assert np.linalg.norm(off) < 0.6


def test_half_a_scan_is_completed(template: HeadTemplate) -> None:
    guide = Guide(template, BOX)
    true = template.neutral(np.array([1.5, -1.0, 1.0], np.float32))
    sdf, seen = grid(template, true), SEEN.copy()
    seen[: BOX.cells // 2] = 0
    fitted = guide.fit(np.where(seen > 0, sdf, 0).astype(np.float32), seen)
    assert distance_at(sdf, fitted.neutral).mean() < 1.5
    nothing = guide.fit(np.zeros_like(sdf), np.zeros_like(seen))
    np.testing.assert_allclose(nothing.neutral, template.mean, atol=1e-3)


def test_the_guide_moves_as_the_units_say_and_takes_the_colours_along(
    template: HeadTemplate,
) -> None:
    guide = Guide(template, BOX)
    true = template.neutral(np.array([0.5, 0.0, -0.5], np.float32))
    sdf = grid(template, true)
    colour = np.zeros((*BOX.shape, 3), np.uint8)
    upper = BOX.centres()[..., 1] < CENTRE[1]
    colour[upper], colour[~upper] = (200, 40, 40), (40, 40, 200)
    fitted = guide.fit(sdf, SEEN)
    made, painted = guide.grid(fitted, 0.6 * TALLER + 0.4 * WIDER, SEEN, colour)
    wanted = template.placed(fitted.neutral, 0.6 * TALLER + 0.4 * WIDER)
    np.testing.assert_array_equal(made, grid(template, wanted))
    near = np.abs(made) < 5
    centres = BOX.centres()
    high, low = near & (centres[..., 1] < CENTRE[1] - 15), near & (centres[..., 1] > CENTRE[1] + 15)
    assert np.abs(painted[high].astype(int) - (200, 40, 40)).max() < 10
    assert np.abs(painted[low].astype(int) - (40, 40, 200)).max() < 10
    again, _ = guide.grid(fitted, np.zeros(52, np.float32), SEEN, colour)
    assert distance_at(again, fitted.neutral).max() < 1.0


def test_a_template_is_read_as_it_was_written(template: HeadTemplate, tmp_path: Path) -> None:
    path = tmp_path / TEMPLATE
    template.save(path)
    found = HeadTemplate.load(path)
    np.testing.assert_array_equal(found.mean, template.mean)
    np.testing.assert_allclose(found.units, template.units, atol=0.02)
    for name, value in template.placer.arrays().items():
        np.testing.assert_array_equal(found.placer.arrays()[name], value)
    arrays = dict(np.load(path))
    damages: list[tuple[str, Callable[[Any], Any]]] = [
        ("not finite", lambda t: {**t, "mean": t["mean"] * float("nan")}),
        ("triangles names vertices", lambda t: {**t, "triangles": t["triangles"] + 10_000}),
        ("parts names", lambda t: {**t, "parts": t["parts"] - 1}),
        ("expected", lambda t: {**t, "units": t["units"][:5]}),
        ("lacks placer.lips", lambda t: {k: v for k, v in t.items() if k != "placer.lips"}),
        ("mouth.weights", lambda t: {**t, "placer.mouth.weights": t["placer.mouth.weights"][:0]}),
    ]
    for message, damage in damages:
        np.savez(path, **damage(arrays))
        with pytest.raises(InputError, match=message):
            HeadTemplate.load(path)
    path.write_bytes(b"PK nothing")
    with pytest.raises(InputError, match="not a template"):
        HeadTemplate.load(path)


def test_weights_with_a_guide_bring_its_template(
    template: HeadTemplate, tiny_avatar: Callable[..., Any], tmp_path: Path
) -> None:
    pytest.importorskip("monai")
    path = tmp_path / "weights.safetensors"
    model = tiny_avatar(guide=True)
    box = FaceBox(16)
    scan = NeutralScan.clean(
        grid(template, template.mean, box), np.full((*box.shape, 3), 120, np.uint8)
    )
    with pytest.raises(InputError, match="guide"):
        generate(model, scan, TALLER, steps=2)
    model.guide = Guide(template, box)
    save_weights(path, model, {})
    read = load_weights(path)
    made = generate(read, scan, np.stack([TALLER, WIDER]), steps=2)
    assert made.sdf.shape == (2, *box.shape)
    # Residuals begin from the guide: with none, it is what comes out.
    assert read.diffusion is not None
    with_guide = Guided(read, scan).latents(TALLER[None])
    assert with_guide.shape == (1, read.config.latent_channels, 4, 4, 4)
    path.with_name(TEMPLATE).unlink()
    with pytest.raises(InputError, match=TEMPLATE):
        load_weights(path)
    assert load_weights(path, diffusion=False).guide is None


def test_temperature_sets_how_far_seeds_differ(
    template: HeadTemplate, tiny_avatar: Callable[..., Any]
) -> None:
    pytest.importorskip("monai")
    box = FaceBox(16)
    scan = NeutralScan.clean(
        grid(template, template.mean, box), np.full((*box.shape, 3), 120, np.uint8)
    )
    spread = []
    for temperature in (0.0, 0.25, 1.0):
        model = tiny_avatar(guide=True, temperature=temperature)
        model.guide = Guide(template, box)
        one, other = (generate(model, scan, TALLER, steps=3, seed=k).sdf for k in (0, 1))
        spread.append(float(np.abs(one - other).mean()))
    assert spread[0] == 0.0
    assert spread[0] < spread[1] < spread[2]
    with pytest.raises(InputError, match="temperature"):
        tiny_avatar(temperature=3.0)


def test_a_denoiser_is_trained_from_guides(
    template: HeadTemplate,
    ellipsoid_scans: Path,
    tiny_avatar: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("monai")
    from mien.models.avatar import train_config
    from mien.models.avatar.config import diffusion_preset
    from mien.models.avatar.train import train_avatar
    from mien.models.avatar.train_config import AvatarTrainConfig

    small = replace(
        diffusion_preset("small", 4), channels=(16, 16), head_channels=8, groups=4, token_width=16,
        field_channels=2, batch=4,
    )  # fmt: skip
    monkeypatch.setattr(train_config, "diffusion_preset", lambda *_: small)
    data = tmp_path / "data"
    shutil.copytree(ellipsoid_scans, data)
    save_weights(tmp_path / "encoder.safetensors", tiny_avatar(), {})
    config = AvatarTrainConfig(
        stage="diffusion", data=data, out=tmp_path / "out", init=tmp_path / "encoder.safetensors",
        steps=6, guide=True, device="cpu", warmup_steps=2, log_steps=2, held_out=2, bfloat16=False,
    )  # fmt: skip
    with pytest.raises(InputError, match="synthesize scans"):
        train_avatar(config)
    template.save(data / TEMPLATE)
    result = train_avatar(config)
    assert {"guide_mm", "moved_mm", "copy_mm"} <= result.figures.keys()
    # The ellipsoids' own law is the template's: the guide must beat the copy. Never trained, this
    # decoder says little; the grids themselves do.
    trained = load_weights(result.weights)
    assert trained.guide is not None
    person = np.load(data / "person-00005.npz")
    scan = NeutralScan(
        person["scan_sdf"][0].astype(np.float32), person["scan_seen"][0], person["scan_colour"][0]
    )
    moved = person["blendshapes"][1:]
    guided = Guided(trained, scan).grids(moved)
    for sdf, places in zip(guided.sdf, person["vertices"][1:], strict=True):
        copied = distance_at(person["sdf"][0].astype(np.float32), places).mean()
        assert distance_at(sdf, places).mean() < 0.6 * copied
