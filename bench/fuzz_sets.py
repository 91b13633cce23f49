"""Parsers of folders of training and evaluation data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from fuzz_parser import Parser, written

from mien.models.people.record import Meta
from mien.models.synthetic import closeup_shards, scenes_bank, shards
from mien.models.synthetic.evaluation import load_clip

_SIDE: Final = 8
_META: Final = shards.ShardMeta(_SIDE, tuple(range(68)), {"seed": 1})


def _shard(folder: Path) -> Sequence[bytes]:
    n = 2
    sizes = {"pose": (n, 3, 4), "shape": (n, 40), "expression": (n, 10), "blendshapes": (n, 52),
             "points": (n, 68, 2), "presence": (n,), "angles": (n, 3)}  # fmt: skip
    return written(
        "s.npz",
        lambda path: np.savez(path, **{k: np.zeros(s, np.float32) for k, s in sizes.items()}),  # pyright: ignore[reportArgumentType]
    )(folder)


def _read_shard(data: bytes, folder: Path) -> object:
    images = folder / "shard-00000.images.npy"
    if not images.exists():
        np.save(images, np.zeros((2, _SIDE, _SIDE, 3), np.uint8))
    (folder / "shard-00000.npz").write_bytes(data)
    return shards.load_shard(folder, 0, _META)


def _shard_meta(folder: Path) -> Sequence[bytes]:
    _META.save(folder)
    return [(folder / shards.META_NAME).read_bytes()]


def _read_shard_meta(data: bytes, folder: Path) -> object:
    (folder / shards.META_NAME).write_bytes(data)
    return shards.ShardMeta.load(folder)


def _cut_outs(path: Path) -> None:
    np.savez(path, landmarks=np.zeros((1, 68, 2), np.float32), kinds=np.zeros(1, np.int32))


def _read_cut_outs(data: bytes, folder: Path) -> object:
    images = folder / "shard-00000.images.npy"
    if not images.exists():
        np.save(images, np.zeros((1, scenes_bank.SIZE, scenes_bank.SIZE, 4), np.uint8))
    (folder / "shard-00000.npz").write_bytes(data)
    return scenes_bank.load_shard(folder, 0)


def _bank_meta(folder: Path) -> Sequence[bytes]:
    scenes_bank.save_meta(folder, {"seed": 1})
    return [(folder / scenes_bank.META_NAME).read_bytes()]


def _read_bank_meta(data: bytes, folder: Path) -> object:
    (folder / scenes_bank.META_NAME).write_bytes(data)
    return scenes_bank.load_meta(folder)


def _closeups(path: Path) -> None:
    np.savez(
        path, pose=np.zeros((1, 3, 4), np.float32), shape=np.zeros((1, 40), np.float32),
        blendshapes=np.zeros((1, 52), np.float32),
    )  # fmt: skip


def _read_closeups(data: bytes, folder: Path) -> object:
    images = folder / "shard-00000.images.npy"
    if not images.exists():
        size = (1, closeup_shards.CLOSEUP_HEIGHT, closeup_shards.CLOSEUP_WIDTH, 3)
        np.save(images, np.zeros(size, np.uint8))
        closeup_shards.save_meta(folder, {"seed": 1})
    (folder / "shard-00000.npz").write_bytes(data)
    return closeup_shards.load_shards(folder)


def _closeups_meta(folder: Path) -> Sequence[bytes]:
    closeup_shards.save_meta(folder, {"seed": 1})
    return [(folder / closeup_shards.META_NAME).read_bytes()]


def _read_closeups_meta(data: bytes, folder: Path) -> object:
    (folder / closeup_shards.META_NAME).write_bytes(data)
    return closeup_shards.load_meta(folder)


def _clip(path: Path) -> None:
    n = 2
    np.savez(
        path, images=np.zeros((n, 8, 8, 3), np.uint8), t_ns=np.arange(n), camera=np.ones(4),
        rotation=np.zeros((n, 3, 3)), translation_mm=np.zeros((n, 3)),
        landmarks=np.zeros((n, 68, 2), np.float32), blendshapes=np.zeros((n, 52), np.float32),
        head_size=np.float64(1.0),
    )  # fmt: skip


def _read_clip(data: bytes, folder: Path) -> object:
    path = folder / "clip-00000.npz"
    path.write_bytes(data)
    return load_clip(path).pinhole


def _people(_: Path) -> Sequence[bytes]:
    table = {"kind": "heads", "size": 8, "cube_mm": 300.0, "seed": 0, "count": 1, "views": 2,
             "assets": True, "command": "none", "version": 1}  # fmt: skip
    return [json.dumps(table).encode()]


def _read_people(data: bytes, folder: Path) -> object:
    (folder / "meta.json").write_bytes(data)
    return Meta.load(folder)


def _portraits(path: Path) -> None:
    n, views, side = 1, 2, 8
    look = {"views": [{"view": "front"}, {"view": "facing left"}], "age": "old"}
    np.savez(
        path, images=np.zeros((n, views, side, side, 3), np.uint8),
        mask=np.zeros((n, views, side, side), np.uint8),
        depth=np.zeros((n, views, side, side), np.float16),
        cameras=np.tile([*np.eye(4).ravel(), *np.eye(3).ravel()], (n, views, 1)).astype(np.float32),
        light=np.zeros((n, 9), np.float32), blendshapes=np.zeros((n, 52), np.float32),
        identity=np.int32(0), attributes=json.dumps([look] * n),
    )  # fmt: skip


_PORTRAITS: Final = json.dumps({"kind": "portraits", "size": 8}).encode()


def _read_portraits(data: bytes, folder: Path) -> object:
    from mien.models.portrait.dataset import Portraits

    (folder / "meta.json").write_bytes(_PORTRAITS)
    (folder / "person-00000.npz").write_bytes(data)
    return Portraits.load(folder, 4)


def _read_pictures(data: bytes, folder: Path) -> object:
    from mien.models.portrait.pictures import load_pictures

    (folder / "meta.json").write_bytes(_PORTRAITS)
    for number in range(2):
        (folder / f"person-0000{number}.npz").write_bytes(data)
    return load_pictures(folder, held_out=True)


def _portrait_meta(data: bytes, folder: Path) -> object:
    from mien.models.portrait.synthesize import read_meta

    (folder / "meta.json").write_bytes(data)
    return read_meta(folder)


def scans_seed(path: Path) -> None:
    n = 4
    grid = (1, n, n, n)
    np.savez(
        path, sdf=np.zeros(grid, np.float16), colour=np.zeros((*grid, 3), np.uint8),
        blendshapes=np.zeros((1, 52), np.float32), expression=np.zeros((1, 10), np.float32),
        shape=np.zeros(40, np.float32), scan_sdf=np.zeros(grid, np.float16),
        scan_seen=np.zeros(grid, np.uint8), scan_colour=np.zeros((*grid, 3), np.uint8),
        scan_kind=np.zeros(1, np.uint8), views=np.zeros((1, 2, 4, 4, 4), np.uint8),
        cameras=np.zeros((1, 2, 3, 4), np.float32), vertices=np.zeros((1, 5, 3), np.float32),
    )  # fmt: skip


def _read_scans(data: bytes, folder: Path) -> object:
    from mien.models.avatar.dataset import ScanFolder

    (folder / "meta.json").write_text('{"cells": 4, "seed": 0}')
    for number in range(2):
        (folder / f"person-0000{number}.npz").write_bytes(data)
    return ScanFolder(folder).expressions


def _scan_meta(data: bytes, folder: Path) -> object:
    from mien.models.avatar.dataset import ScanFolder

    (folder / "meta.json").write_bytes(data)
    if not (folder / "person-00001.npz").exists():
        for number in range(2):
            scans_seed(folder / f"person-0000{number}.npz")
    return ScanFolder(folder).seed


def _scan_meta_seed(_: Path) -> Sequence[bytes]:
    return [b'{"kind": "scans", "cells": 4, "seed": 0}']


_TORCH: Final = ("torch",)
PARSERS: Final = (
    Parser("set-shard", "zip", _shard, _read_shard, share=0.3),
    Parser("set-shard-meta", "json", _shard_meta, _read_shard_meta),
    Parser("set-cut-outs", "zip", written("c.npz", _cut_outs), _read_cut_outs, share=0.3),
    Parser("set-cut-outs-meta", "json", _bank_meta, _read_bank_meta),
    Parser("set-closeups", "zip", written("e.npz", _closeups), _read_closeups, share=0.3),
    Parser("set-closeups-meta", "json", _closeups_meta, _read_closeups_meta),
    Parser("set-clip", "zip", written("c.npz", _clip), _read_clip, share=0.3),
    Parser("set-people-meta", "json", _people, _read_people),
    Parser(
        "set-portraits",
        "zip",
        written("p.npz", _portraits),
        _read_portraits,
        share=0.1,
        needs=_TORCH,
    ),
    Parser(
        "set-pictures", "zip", written("p.npz", _portraits), _read_pictures, share=0.1, needs=_TORCH
    ),
    Parser("set-portraits-meta", "json", lambda _: [_PORTRAITS], _portrait_meta, needs=_TORCH),
    Parser("set-scans", "zip", written("s.npz", scans_seed), _read_scans, share=0.1, needs=_TORCH),
    Parser("set-scans-meta", "json", _scan_meta_seed, _scan_meta, share=0.3, needs=_TORCH),
)
