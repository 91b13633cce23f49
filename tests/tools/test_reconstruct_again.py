"""``mien reconstruct`` on results that are there already, and interrupted ones."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="runs the network (extra: heavy)")
pytest.importorskip("safetensors", reason="reads the weights (extra: heavy)")

from mien.models.errors import OutputError
from mien.models.face.bundle import Bundle, write_bundle
from mien.models.face.camera import Camera
from mien.tools.reconstruct.command import Reconstruct


def facts_of(out: Path, name: str) -> dict[str, Any]:
    return json.loads((out / f"{name}.json").read_text(encoding="utf-8"))


def test_what_is_finished_is_skipped_and_other_options_are_refused(
    tiny_reconstruct: Reconstruct,
    person_picture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = replace(tiny_reconstruct, inputs=(person_picture,), out=tmp_path, formats="ply")
    assert run.run() == 0
    stamp = (tmp_path / "person.ply").stat().st_mtime_ns
    assert run.run() == 0
    assert "1 skipped" in capsys.readouterr().out
    assert (tmp_path / "person.ply").stat().st_mtime_ns == stamp
    with pytest.raises(OutputError, match="other resolution; --overwrite"):
        replace(run, resolution=16).run()
    assert replace(run, resolution=16, overwrite=True).run() == 0
    assert facts_of(tmp_path, "person")["request"]["resolution"] == 16


def test_another_picture_or_mask_of_the_same_name_and_size_is_not_done(
    tiny_reconstruct: Reconstruct, person_picture: Path, tmp_path: Path
) -> None:
    image = cv2.imread(str(person_picture))
    assert image is not None
    own, mask, out = tmp_path / "person.bmp", tmp_path / "mask.bmp", tmp_path / "out"
    white = np.full(image.shape[:2], 255, np.uint8)
    cv2.imwrite(str(own), image)
    cv2.imwrite(str(mask), white)
    sizes = own.stat().st_size, mask.stat().st_size
    run = replace(tiny_reconstruct, inputs=(own,), out=out, formats="ply", mask=mask)
    assert run.run() == 0
    cv2.imwrite(str(own), image[:, ::-1])
    with pytest.raises(OutputError, match="other picture; --overwrite"):
        run.run()
    cv2.imwrite(str(own), image)
    white[:, :9] = 0
    cv2.imwrite(str(mask), white)
    assert sizes == (own.stat().st_size, mask.stat().st_size)
    with pytest.raises(OutputError, match="other mask; --overwrite"):
        run.run()
    # Results of before, which told pictures apart by their size, are not taken for this one's.
    facts = facts_of(out, "person")
    del facts["request"]["input_sha256"]
    facts["request"]["input_bytes"] = sizes[0]
    (out / "person.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(OutputError, match="does not say of which picture") as raised:
        run.run()
    assert len(str(raised.value).splitlines()) == 1


def test_another_fit_of_a_key_frame_is_not_done(
    tiny_reconstruct: Reconstruct,
    person_keyframes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own, out = tmp_path / "person.keyframes", tmp_path / "out"
    shutil.copytree(person_keyframes, own)
    run = replace(tiny_reconstruct, inputs=(own,), out=out, formats="ply")
    assert run.run() == 0
    assert run.run() == 0
    assert "1 skipped" in capsys.readouterr().out
    (place,) = own.glob("fits/*.npz")
    whole = place.read_bytes()
    with np.load(place) as arrays:
        fit = dict(arrays)
    fit["camera_from_head"][2, 3] += 50.0
    np.savez(place, **fit)  # the picture is what it was
    with pytest.raises(OutputError, match="other fit; --overwrite"):
        run.run()
    assert replace(run, overwrite=True).run() == 0
    place.write_bytes(whole)
    with pytest.raises(OutputError, match="other fit; --overwrite"):
        run.run()
    # Results of before do not say of which fit they are.
    (facts_place,) = out.glob("*.json")
    facts = json.loads(facts_place.read_text(encoding="utf-8"))
    del facts["request"]["fit_sha256"]
    facts_place.write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(OutputError, match="does not say of which fit it was made"):
        run.run()


def test_another_bundle_or_camera_of_the_same_name_is_not_done(
    tiny_reconstruct: Reconstruct, person_picture: Path, tmp_path: Path
) -> None:
    default = Bundle.default()
    own, camera = tmp_path / "bundle", tmp_path / "camera.toml"
    shutil.copytree(default.folder, own)
    run = replace(
        tiny_reconstruct, inputs=(person_picture,), out=tmp_path / "out", formats="ply", bundle=own,
        camera=str(camera),
    )  # fmt: skip
    image = cv2.imread(str(person_picture))
    assert image is not None
    height, width = image.shape[:2]
    Camera.from_fov(width, height, 50.0).save(camera)
    assert run.run() == 0
    assert run.run() == 0
    Camera.from_fov(width, height, 40.0).save(camera)
    with pytest.raises(OutputError, match="other camera; --overwrite"):
        run.run()
    Camera.from_fov(width, height, 50.0).save(camera)
    write_bundle(own, replace(default.info, version="9.9.9"))
    with pytest.raises(OutputError, match="other bundle; --overwrite"):
        run.run()


def test_an_interruption_says_what_is_done_and_the_same_command_goes_on(
    start_mien: Callable[..., subprocess.Popen[str]],
    mien: Callable[..., subprocess.CompletedProcess[str]],
    tiny_pifuhd: Path,
    person_picture: Path,
    tmp_path: Path,
) -> None:
    for number in range(6):
        shutil.copy(person_picture, tmp_path / f"{number}.png")
    names = [f"{number}.png" for number in range(6)]
    options = ("--weights", tiny_pifuhd, "--resolution", "32", "--formats", "ply")
    process = start_mien("reconstruct", *names, "--out", "out", *options)
    deadline_s = time.monotonic() + 120
    # The second one's file: by then the first is counted.
    while not (tmp_path / "out/1.json").is_file() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    (line,) = stderr.splitlines()
    made = sorted(path.stem for path in (tmp_path / "out").glob("*.json"))
    assert 1 <= len(made) < 6
    assert re.fullmatch(
        r"mien: interrupted: \d done of 6: out; the same command goes on from there", line
    )
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
    done = mien("reconstruct", *names, "--out", "out", *options, "--no-turntable")
    assert done.returncode == 2  # other options are refused, here as ever
    done = mien("reconstruct", *names, "--out", "out", *options, timeout=300.0)
    assert done.returncode == 0, done.stderr
    assert f"{6 - len(made)} done, {len(made)} skipped" in done.stdout
