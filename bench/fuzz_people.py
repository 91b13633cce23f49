"""Parsers of MakeHuman's data and clothes, of data folders of people, captions and logs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from fuzz_parser import Parser, as_text, fixed, in_file, written

from mien.models.errors import OutputError
from mien.models.face.morphable import FaceModel
from mien.models.learning.curves import draw_curves, read_log
from mien.models.makehuman.build import HeadModel
from mien.models.makehuman.head import HeadTopology
from mien.models.makehuman.source import BaseMesh, MakeHumanData, read_obj
from mien.models.people.body_cloth import read_suits
from mien.models.people.skinning import Rig
from mien.models.portrait.vocabulary import parse
from mien.models.scans import generate
from mien.models.synthetic import hands
from mien.models.synthetic.fitted import read_fitted_mesh

_COUNT: Final = 12
_QUADS: Final = np.array([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]], np.int32)
_BASE: Final = BaseMesh(
    np.random.default_rng(0).uniform(6, 8, (_COUNT, 3)).astype(np.float32), _QUADS, _QUADS,
    np.zeros((_COUNT, 2), np.float32), ("body", "body", "joint-ground"),
)  # fmt: skip
_OBJ: Final = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\ng body\nf 1/1 2/1 3/1\n"
_FITTING: Final = (
    "# wig\nobj_file wig.obj\nx_scale 0 1 1.0\ny_scale 2 3 1.0\nz_scale 4 5 1.0\nverts 0\n5\n"
    "material wig.mhmat\n5 6 7 0.5 0.25 0.25 0.0 0.1 0.0\n8\ndelete_verts\n1 - 3 7\n"
)
_TARGET: Final = "# a target\n0 0.1 0.2 0.3\n7 0 -.5 0\n"
_BONES: Final = {
    "root": {"parent": "", "head": {"strategy": "CUBE", "cube_name": "joint-ground"},
             "tail": {"strategy": "VERTEX", "vertex_indices": [3]}},
    "spine": {"parent": "root", "head": {"strategy": "VERTEX", "vertex_indices": [3]},
              "tail": {"strategy": "MEAN", "vertex_indices": [4, 5]}},
}  # fmt: skip
_WEIGHTS: Final = {
    "weights": {"root": [[k, 0.5] for k in range(_COUNT)], "spine": [[4, 0.5], [5, 1]],
                "wrist.L": [[0, 1.0], [1, 0.5]], "finger2-1.L": [[2, 1.0]]},
}  # fmt: skip
_RIGS: Final = "mpfb2/rigs/standard"


def _data(folder: Path) -> MakeHumanData:
    return MakeHumanData(folder, _BASE)


def _whole(folder: Path) -> HeadTopology:
    return HeadTopology(_data(folder), np.arange(_COUNT, dtype=np.int32), {})


def _fitting(data: bytes, folder: Path) -> object:
    (folder / "wig.obj").write_text(_OBJ, encoding="utf-8")
    path = folder / "wig.mhclo"
    path.write_bytes(data)
    mesh = read_fitted_mesh(path, _whole(folder))
    return None if mesh is None else mesh.fit(_BASE.vertices)


def _cloth(data: bytes, folder: Path) -> object:
    """The OBJ of a fitting."""
    (folder / "wig.obj").write_bytes(data)
    path = folder / "wig.mhclo"
    path.write_text(_FITTING, encoding="utf-8")
    mesh = read_fitted_mesh(path, _whole(folder))
    return None if mesh is None else mesh.fit(_BASE.vertices)


def _suits(data: bytes, folder: Path) -> object:
    place = folder / "clothes" / "suit"
    if not place.exists():
        _place_rig(folder)
        place.mkdir(parents=True)
        (place / "wig.obj").write_text(_OBJ, encoding="utf-8")
    (place / "a.mhclo").write_bytes(data)
    return read_suits(folder, _data(folder), Rig.load(_data(folder)))


def _place_rig(folder: Path) -> Path:
    place = folder / _RIGS
    if not place.exists():
        place.mkdir(parents=True)
        for name, content in (("rig", _BONES), ("weights", _WEIGHTS)):
            (place / f"{name}.game_engine.json").write_text(json.dumps(content), encoding="utf-8")
    return place


def _rig(name: str) -> Callable[[bytes, Path], object]:
    def read(data: bytes, folder: Path) -> object:
        (_place_rig(folder) / f"{name}.game_engine.json").write_bytes(data)
        found = Rig.load(_data(folder))
        return found.joints(_BASE.vertices), found.share("spine")

    return read


def _hand(data: bytes, folder: Path) -> object:
    """Weights of a hand's bones."""
    path = folder / hands._WEIGHTS
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return hands._skinning(_data(folder), np.arange(_COUNT, dtype=np.int32))


def _target(data: bytes, folder: Path) -> object:
    path = folder / "mpfb2/targets/nose/a.target.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return _data(folder).target("nose/a")


def _plain_target(data: bytes, folder: Path) -> object:
    path = folder / "faceunits01/targets/faceunits/jawOpen.target"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return _data(folder).face_unit("jawOpen")


def _head(path: Path) -> None:
    rng, n = np.random.default_rng(0), 8
    mean, shape, expression, blendshapes = (
        rng.random((*k, n, 3)).astype(np.float32) for k in ((), (40,), (10,), (52,))
    )
    landmarks = np.arange(68, dtype=np.int32) % n
    model = FaceModel(
        mean, shape, expression, blendshapes, np.array([[0, 1, 2]], np.int32), landmarks,
        np.zeros((n, 2), np.float32),
    )  # fmt: skip
    model.save(path)
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    arrays |= {"base_vertices": np.arange(n, dtype=np.int32), "blink_scale": np.float64(1.0),
               "head_from_base": np.eye(3, 4) * 100}  # fmt: skip
    np.savez(path, **arrays)


def _read_head(data: bytes, folder: Path) -> object:
    path = folder / "face_model.npz"
    path.write_bytes(data)
    return HeadModel.load(path, _data(folder)).head_from_base


def _subject(path: Path) -> None:
    n, views, side = 5, 2, 8
    maps = (views, side, side)
    np.savez(
        path, points=np.zeros((n, 3), np.float32), inside=np.zeros(n, bool),
        scale=np.zeros(n, np.uint8), images=np.zeros((*maps, 3), np.uint8),
        mask=np.zeros(maps, np.uint8), front=np.zeros((*maps, 3), np.int8),
        back=np.zeros((*maps, 3), np.int8), cube_from_subject=np.zeros((views, 3, 4), np.float32),
        identity=np.int32(0),
    )  # fmt: skip


def _read_subject(data: bytes, folder: Path) -> object:
    from mien.models.pifuhd.dataset import Subject

    path = folder / "subject-00000.npz"
    path.write_bytes(data)
    subject = Subject.load(path)
    return subject.views, subject.points.sum(), subject.identity


def _read_subjects(data: bytes, folder: Path) -> object:
    from mien.models.pifuhd.dataset import PeopleFolder

    if not (folder / "subject-00001.npz").exists():
        for number in range(2):
            _subject(folder / f"subject-0000{number}.npz")
    (folder / "meta.json").write_bytes(data)
    people = PeopleFolder(folder)
    return people.has_heads, people.training.keys()


def _captions(data: bytes, folder: Path) -> object:
    from fuzz_sets import scans_seed

    from mien.models.avatar.dataset import ScanFolder
    from mien.models.avatar.words import caption_vector

    if not (folder / "meta.json").exists():
        (folder / "meta.json").write_text('{"cells": 4, "seed": 0}', encoding="utf-8")
        for number in range(2):
            scans_seed(folder / f"person-0000{number}.npz")
    (folder / "captions.json").write_bytes(data)
    found = ScanFolder(folder)
    found.need_captions()
    return [caption_vector(text) for text in found.captions.values()]


def _latents(data: bytes, folder: Path) -> object:
    """Whether latents are of given weights."""
    from mien.models.avatar.latent_bank import is_made_of

    path = folder / "latents.json"
    path.write_bytes(data)
    return is_made_of(path, {"weights": "ab", "data": "/a", "shape": [1, 2]})


def _settled(data: bytes, folder: Path) -> object:
    path = folder / "meta.json"
    path.write_bytes(data)
    return generate._settle(path, {"kind": "scans", "seed": 0}, 3, "none")


def _curves(path: Path) -> object:
    return draw_curves(read_log(path)).shape


_LOG: Final = "\n".join(
    json.dumps(line)
    for line in (
        {"begun": "now"}, {"images": 10, "total": 0.5, "lr": 1e-3}, {"images": 20, "total": 0.4},
        {"images": 20, "validation": {"nme_percent": 4.0, "rotation_deg": 3.0}},
    )
)  # fmt: skip
_MADE: Final = json.dumps({"weights": "ab", "data": "/a", "shape": [1, 2]})
_META: Final = json.dumps({"kind": "scans", "seed": 0, "count": 2, "command": "none"})
_PEOPLE: Final = json.dumps({"kind": "heads", "count": 2})
_SAYINGS: Final = json.dumps({"0": "an old man, smiling", "1": "a young woman with red hair"})
_WORDS: Final = fixed("an old man, smiling", "a girl with long brown hair")
_SKIN: Final = fixed(json.dumps(_WEIGHTS))


def _zipped(_: Path) -> Sequence[bytes]:
    return [gzip.compress(_TARGET.encode(), mtime=0)]


_TORCH: Final[dict[str, Any]] = {"needs": ("torch",)}
PARSERS: Final = (
    Parser("mhclo", "text", fixed(_FITTING), _fitting),
    Parser("mhclo-obj", "text", fixed(_OBJ), _cloth),
    Parser("mhclo-suit", "text", fixed(_FITTING), _suits, share=0.3),
    Parser("makehuman-obj", "text", fixed(_OBJ), in_file("b.obj", read_obj)),
    Parser("makehuman-target", "text", fixed(_TARGET), _plain_target),
    Parser("makehuman-target.gz", "bytes", _zipped, _target),
    Parser("makehuman-rig", "json", fixed(json.dumps(_BONES)), _rig("rig"), share=0.3),
    Parser("makehuman-weights", "json", _SKIN, _rig("weights"), share=0.3),
    Parser("makehuman-hand", "json", _SKIN, _hand),
    Parser("makehuman-head", "zip", written("h.npz", _head), _read_head, share=0.5),
    Parser("set-subject", "zip", written("s.npz", _subject), _read_subject, share=0.5, **_TORCH),
    Parser("set-subjects-meta", "json", fixed(_PEOPLE), _read_subjects, share=0.3, **_TORCH),
    Parser("set-captions", "json", fixed(_SAYINGS), _captions, share=0.3, **_TORCH),
    Parser("set-scans-again", "json", fixed(_META), _settled, raises=(OutputError,)),
    Parser("latents", "json", fixed(_MADE), _latents, raises=(), **_TORCH),
    Parser("option-words", "text", _WORDS, as_text(parse)),
    Parser("training-log", "jsonl", fixed(_LOG), in_file("l.jsonl", _curves), share=0.05),
)
