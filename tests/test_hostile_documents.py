"""Documents and weights made to break what reads them, or what says why they cannot be read."""

from __future__ import annotations

import json
import struct
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from mien.models.documents import json_of, one_line, shown, toml_of
from mien.models.errors import BundleError, InputError
from mien.models.face.bundle import MANIFEST, Bundle
from mien.models.face.camera import Camera

MANY = 300
HIDDEN = ".b" * MANY + " = 1"
ESCAPES = "evil\n\x1b[31mname"


@pytest.mark.parametrize(
    "text",
    [
        "format" + ".a" * 2000 + "=1",
        "a" + ".a" * 100_000 + "=1",
        "[" + "a." * 2000 + "a]",
        '"="' + " . ']'" * MANY + "=1",
        "x = {b" + HIDDEN + "}",
        # where strings end decides what is a key
        'x={a="""a"\'""", b' + HIDDEN + ", c='x'}",
        "x={a='''a'\"''', b" + HIDDEN + ', c="x"}',
        'x={a="a\\"\'", b' + HIDDEN + ", c='x'}",
        'x={a="""a""""", b' + HIDDEN + ", c='x'}",
        'x={a="""\\"""", b' + HIDDEN + "}",
        "x=1 # '\ny" + HIDDEN + " # '",
        "x = " + "[" * 33 + "]" * 33,
    ],
)
def test_keys_of_many_parts_are_refused_before_they_are_read(text: str, tmp_path: Path) -> None:
    begun = time.process_time()
    with pytest.raises(ValueError, match="nested too deeply"):
        toml_of(text)
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match=r"bundle\.toml: not TOML: nested too deeply"):
        Bundle.load(tmp_path)
    assert time.process_time() - begun < 0.5


def test_toml_of_much_text_is_refused() -> None:
    begun = time.process_time()
    with pytest.raises(ValueError, match="1200000 characters, expected"):
        toml_of("[a.a.a.a.a]\n" * 100_000)
    for text in ("a" * (1 << 18), '"\\' * (1 << 17), '"""\\' * (1 << 16), "'" * (1 << 18)):
        with pytest.raises(ValueError, match=r"Expected|Unescaped"):
            toml_of(text)
    headers = "".join(f"[k{i}{'.a' * 28}]\n" for i in range(4000))
    assert len(toml_of(headers)) == 4000
    assert time.process_time() - begun < 4.0


def test_dots_that_are_of_no_key_are_read() -> None:
    numbers = ", ".join(["1.5"] * 1000)
    dots = "a.b." * 100
    text = f'x = [{numbers}] # {dots}\ny = "{dots}"\nz = """\n{dots}"""\n{"a." * 29}a = 1.5\n'
    table = toml_of(text + f"'{dots}'.b = '''{dots}'''\n")
    assert table["x"] == [1.5] * 1000
    assert table["y"] == table["z"] == table[dots]["b"] == dots


@pytest.mark.parametrize("depth", [33, 500, 900])
def test_json_deeper_than_its_values_can_be_shown(depth: int, tmp_path: Path) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        deep = opening * depth + "1" + closing * depth
        with pytest.raises(ValueError, match="nested too deeply"):
            json_of(deep)
        path = tmp_path / "c.json"
        path.write_text(f'{{"fx": {deep}}}')
        with pytest.raises(InputError, match="nested too deeply"):
            Camera.load(path)
    assert json_of("[" * 31 + "]" * 31)


@pytest.mark.parametrize("error", [MemoryError, RecursionError])
def test_what_is_too_large_for_the_memory(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise error

    for read, parser in ((json_of, "json.loads"), (toml_of, "tomllib.loads")):
        monkeypatch.setattr(f"mien.models.documents.{parser}", fail)
        with pytest.raises(ValueError, match=r"too large for the memory|nested too deeply"):
            read("{}")


def test_what_others_wrote_is_shown_without_what_a_terminal_obeys() -> None:
    assert shown("Zoë.weight") == "Zoë.weight"
    assert shown(ESCAPES) == "evil\\n\\x1b[31mname"
    assert shown("\x1b" * 1000) == "\\x1b" * 15
    assert one_line(ValueError(ESCAPES)) == "evil \\x1b[31mname"
    assert one_line(ValueError("\udc80" + "a" * 999)).isprintable()


@pytest.mark.parametrize(
    "lines",
    [
        f"format = '{'a' * 9999}'",
        f"format = 1\nname = {['a'] * 999}",
        'format = 1\nname = {a = """\n\n"""}',
    ],
)
def test_values_of_manifests_are_shown_in_short(lines: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(lines)
    with pytest.raises(BundleError) as caught:
        Bundle.load(tmp_path)
    assert len(str(caught.value)) < len(str(tmp_path)) + 150
    assert "\n" not in str(caught.value)


def safetensors_file(path: Path, tensors: dict[str, tuple[str, list[int], int]]) -> Path:
    """Zeros under names, each of a type, a shape and a number of bytes."""
    header: dict[str, Any] = {}
    at = 0
    for name, (kind, shape, size) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))
    return path


def test_names_of_tensors_are_spelt_out(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="reads weights (extra: heavy)")
    pytest.importorskip("safetensors")
    from mien.models.learning.tensor_file import check_state, read_tensors

    names = {ESCAPES: ("F32", [1], 4), "x" * 9999: ("F32", [1], 4)}
    path = safetensors_file(tmp_path / "a.safetensors", names)
    found = read_tensors(path)[1]
    for wanted in ({}, {name: torch.zeros(2) for name in names}):
        with pytest.raises(InputError, match=r"evil\\n\\x1b\[31mname") as caught:
            check_state(path, "this", wanted, found)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < len(str(path)) + 300


@pytest.mark.parametrize(
    ("kind", "size"), [("F8_E4M3", 8), ("F8_E5M2", 8), ("F8_E8M0", 8), ("C64", 64)]
)
def test_tensors_of_types_that_no_weights_have(kind: str, size: int, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="reads weights (extra: heavy)")
    pytest.importorskip("safetensors")
    from mien.models.learning.tensor_file import check_state, read_tensors

    path = tmp_path / "a.safetensors"
    wanted = {"w": torch.zeros(8)}
    with pytest.raises(InputError, match=r"1 of another type: w|not a safetensors file"):
        check_state(
            path, "this", wanted, read_tensors(safetensors_file(path, {"w": (kind, [8], size)}))[1]
        )
    for fine, width in (("F16", 2), ("BF16", 2), ("F32", 4), ("F64", 8), ("I64", 8), ("BOOL", 1)):
        safetensors_file(path, {"w": (fine, [8], 8 * width)})
        check_state(path, "this", wanted, read_tensors(path)[1])


def test_tensors_that_are_no_numbers_in_memory(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="reads weights (extra: heavy)")
    from mien.models.learning.tensor_file import check_state

    wanted = {"w": torch.zeros(3)}
    for odd in (torch.zeros(3).to_sparse(), torch.zeros(3, device="meta")):
        with pytest.raises(InputError, match="1 of another type: w"):
            check_state(tmp_path, "this", wanted, {"w": odd})


def test_small_detectors_that_say_they_are_large(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="reads checkpoints (extra: train)")
    from mien.models.detector.checkpoint import DETECTOR_CHECKPOINT_FORMAT, DetectorCheckpoint
    from mien.models.detector.network import DetectorNetwork, DetectorNetworkConfig
    from mien.models.learning.stepping import StepProgress

    path = tmp_path / "d.pt"
    config = DetectorNetworkConfig(width=0.1, deep=8, decoder=(8, 8, 8))
    plain = DetectorNetwork(config).state_dict()
    DetectorCheckpoint(config, plain, plain, {}, StepProgress(), 0.5).save(path)
    assert DetectorCheckpoint.load(path).network == config
    state = {
        name: torch.zeros(1, dtype=value.dtype).expand(value.shape) if value.dim() else value
        for name, value in plain.items()
    }
    content = {
        "format": DETECTOR_CHECKPOINT_FORMAT, "network": asdict(config), "weights": state,
        "averaged": state, "optimiser": {}, "progress": {}, "threshold": 0.5,
    }  # fmt: skip
    torch.save(content, path)
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match=r"d\.pt: a tensor \[\d+\] repeats fewer"):
        DetectorCheckpoint.load(path)
    content |= {"weights": plain, "averaged": plain}
    for name, value in (
        ("deep", 1 << 30), ("deep", 0), ("deep", 8.0), ("width", "x"), ("width", 1e308),
        ("decoder", (8, 8)), ("decoder", (8,) * 10_000), ("decoder", (8, 8, -1)),
    ):  # fmt: skip
        torch.save({**content, "network": {**asdict(config), name: value}}, path)
        with pytest.raises(InputError, match=rf"d\.pt: detector: {name} is .*, expected"):
            DetectorCheckpoint.load(path)


@pytest.mark.parametrize(
    "place", [{"optimiser": {"state": {0: [0]}}}, {"sampler": {"chunk": 0, "dealt": 0, "seen": 0}}]
)
def test_what_a_training_goes_on_with_is_no_larger_than_its_file(
    place: dict[str, Any], tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch", reason="reads checkpoints (extra: train)")
    from mien.models.regressor.checkpoint import Checkpoint, Progress
    from mien.models.regressor.network import FaceNetwork, NetworkConfig

    path = tmp_path / "r.pt"
    config = NetworkConfig(width=0.1)
    plain = FaceNetwork(config).state_dict()
    itself: list[Any] = []
    itself.append(itself)
    Checkpoint(config, plain, plain, {"state": itself}, Progress()).save(path)
    content = torch.load(path, weights_only=True)
    assert Checkpoint.load(path).network == config
    ((name, table),) = place.items()
    numbers = torch.zeros(1, dtype=torch.int32)
    last = list(table)[-1]
    torch.save({**content, name: {**table, last: {0: numbers.expand(1 << 40)}}}, path)
    with pytest.raises(InputError, match=r"r\.pt: a tensor \[1099511627776\] repeats fewer"):
        Checkpoint.load(path)


@pytest.mark.parametrize(
    "odd", [{"width": "x"}, {"pooling": "none"}, {"pooling": 3}, {"landmark_head": 1}]
)
def test_sizes_of_regressors_that_no_network_has(odd: dict[str, Any], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="reads checkpoints (extra: train)")
    from mien.models.regressor.checkpoint import CHECKPOINT_FORMAT, Checkpoint

    path = tmp_path / "r.pt"
    torch.save({"format": CHECKPOINT_FORMAT, "sampler": None, "network": odd}, path)
    with pytest.raises(InputError, match=r"r\.pt: regressor: .* is .*, expected"):
        Checkpoint.load(path)
