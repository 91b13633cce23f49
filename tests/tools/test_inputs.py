"""Which files a batch finds, and that no two of them share an output."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.models.errors import InputError
from mien.models.face.bundle import Bundle
from mien.tools.annotate.inputs import collect_inputs
from mien.tools.options import camera_for, choices, read_camera


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names_of(named: list[Path], out: Path) -> list[str]:
    return [item.name for item in collect_inputs(named, out)[0]]


def test_outputs_mirror_the_tree_in_order(tmp_path: Path) -> None:
    touch(tmp_path / "in", "b/two.mp4", "a.jpg", "notes.txt", ".hidden.mp4", ".cache/x.mp4")
    assert names_of([tmp_path / "in"], tmp_path / "out") == ["a", "b/two"]


def test_of_two_inputs_with_one_stem_both_keep_their_extension(tmp_path: Path) -> None:
    touch(tmp_path, "x.mp4", "x.mov", "y.mp4")
    named = [tmp_path / "x.mp4", tmp_path / "x.mov", tmp_path / "y.mp4"]
    assert names_of(named, tmp_path / "out") == ["x.mp4", "x.mov", "y"]


def test_of_two_inputs_with_one_name_both_keep_their_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.mp4", "b/x.mp4")
    named = [tmp_path / "a/x.mp4", tmp_path / "b/x.mp4"]
    assert names_of(named, tmp_path / "out") == ["a/x", "b/x"]


def test_the_output_folder_is_no_input(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "out/a.overlay.mp4")
    assert names_of([tmp_path], tmp_path / "out") == ["a"]
    touch(tmp_path, "a.overlay.mp4", "b/c.png", "b/c.overlay.png")
    assert names_of([tmp_path / "b", tmp_path / "a.mp4"], tmp_path) == ["c", "a"]
    assert names_of([tmp_path / "b"], tmp_path / "out") == ["c.overlay", "c"]


def test_an_input_named_twice_is_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.mp4")
    monkeypatch.chdir(tmp_path)
    assert names_of(
        [Path("a.mp4"), tmp_path / "a.mp4", Path("../") / tmp_path.name], Path("o")
    ) == ["a"]
    assert names_of([tmp_path / "a.mp4", tmp_path, tmp_path / "a.mp4"], tmp_path / "o") == ["a"]


def test_names_that_collide_in_turn_are_told_apart(tmp_path: Path) -> None:
    touch(tmp_path / "in", "x.mp4", "x.mov", "x.mp4.mkv", "x.mp4.mov.avi", "y.mp4.mkv")
    expected = ["x.mov", "x.mp4", "x.mp4.mkv", "x.mp4.mov", "y.mp4"]
    assert names_of([tmp_path / "in"], tmp_path / "out") == expected


def test_links_to_folders_are_followed_once_and_under_their_own_names(tmp_path: Path) -> None:
    touch(tmp_path, "in/b/one.mp4", "far/two.mp4", "far/deep/three.mp4")
    (tmp_path / "in/a").symlink_to(tmp_path / "in/b")  # known by its own name
    (tmp_path / "in/c").symlink_to(tmp_path / "far")
    (tmp_path / "in/d").symlink_to(tmp_path / "far")
    (tmp_path / "far/deep/up").symlink_to(tmp_path / "far")  # round and round
    (tmp_path / "in/out").symlink_to(tmp_path / "out")
    touch(tmp_path, "out/made.mp4")
    expected = ["b/one", "c/deep/three", "c/two"]
    assert names_of([tmp_path / "in"], tmp_path / "out") == expected
    assert names_of([tmp_path / "in/c"], tmp_path / "out") == ["deep/three", "two"]


def test_a_link_to_a_file_is_a_file(tmp_path: Path) -> None:
    touch(tmp_path, "one.mp4", "x/film.mp4")
    for folder in ("p", "q"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "film.mp4").symlink_to(tmp_path / "one.mp4")
    named = [tmp_path / folder / "film.mp4" for folder in ("p", "q", "x")]
    assert names_of(named, tmp_path / "out") == ["p/film", "q/film", "x/film"]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    inputs, missing = collect_inputs([tmp_path / "no.mp4", tmp_path / "empty"], tmp_path / "out")
    assert inputs == []
    assert [line.split(": ")[1] for line in missing] == [
        "no such file or folder",
        "no video or picture in this folder",
    ]


def test_choices_keep_their_order_and_refuse_others() -> None:
    assert choices("csv, parquet", ("parquet", "csv", "jsonl"), "--format") == ("parquet", "csv")
    with pytest.raises(InputError, match="xml given, expected some of parquet, csv"):
        choices("xml,csv", ("parquet", "csv"), "--format")
    with pytest.raises(InputError, match="nothing given"):
        choices(",", ("parquet", "csv"), "--format")


def test_camera_is_a_field_of_view_or_a_file(tmp_path: Path) -> None:
    from mien.models.face.camera import Camera

    assert read_camera("90") == 90.0
    camera = camera_for(90.0, 640, 480)
    assert camera.fx == pytest.approx(320.0)
    Camera.from_fov(320, 240, 90.0).save(tmp_path / "camera.toml")
    assert camera_for(read_camera(str(tmp_path / "camera.toml")), 640, 480) == camera
    with pytest.raises(InputError, match=r"--camera .*none\.toml: no such file, and no n"):
        read_camera(str(tmp_path / "none.toml"))
    with pytest.raises(InputError, match="1 to 175"):
        read_camera("nan")


def test_options_say_what_is_in_a_file_and_not_its_name(tmp_path: Path) -> None:
    from mien.models.face.camera import Camera
    from mien.tools.following import FollowingOptions

    lens, smoothing = tmp_path / "camera.toml", tmp_path / "smoothing.toml"

    def said(fov_deg: float, gate: float) -> dict[str, object]:
        Camera.from_fov(320, 240, fov_deg).save(lens)
        smoothing.write_text(f"gate = {gate}\n")
        return FollowingOptions(smoothing=str(smoothing), camera=str(lens)).plain(Bundle.default())

    before = said(50.0, 7.0)
    assert said(50.0, 7.0) == before
    assert said(51.0, 7.0) != before
    assert said(50.0, 8.0) != before
    assert str(tmp_path) not in str(before)
    shipped = Bundle.default()
    assert FollowingOptions(camera="60.0").plain(shipped) == FollowingOptions().plain(shipped)


def test_options_say_whose_detector_it_is_where_the_bundle_has_none(tmp_path: Path) -> None:
    from mien.tools.following import FollowingOptions

    shipped = Bundle.default()
    bare = Bundle(tmp_path, shipped.info, "0" * 64, {})
    assert FollowingOptions().plain(bare)["detector_bundle"] == shipped.hash
    assert "detector_bundle" not in FollowingOptions().plain(shipped)
