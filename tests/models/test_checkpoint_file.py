"""What is said of files of torch's that are not opened."""

from __future__ import annotations

import pickle
from fractions import Fraction
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="reads checkpoints (extra: train)")

from mien.models.errors import InputError  # noqa: E402
from mien.models.learning.checkpoint_file import load_content, load_plain  # noqa: E402


def test_a_class_is_named_and_nobody_told_to_open_it_anyway(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    for content in ({"format": "x", "half": Fraction(1, 2)}, torch.nn.Linear(1, 1)):
        torch.save(content, path)
        with pytest.raises(ValueError, match=r"holds a (fractions\.Fraction|torch\.nn\.)") as said:
            load_plain(path)
        assert "weights_only" not in str(said.value)
        assert len(str(said.value).splitlines()) == 1
    with pytest.raises(InputError, match=r"not a checkpoint: it holds a torch\.nn\.mod"):
        load_content(path, "x")


@pytest.mark.parametrize("content", [b"nonsense", pickle.dumps({1: b"a"}, 4)[:-3] + b"zzz"])
def test_what_is_no_weights_is_said_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="no file of torch's weights"):
        load_plain(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_program_of_torchscript_is_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), str(path))
    with pytest.raises(ValueError, match="no file of torch's weights"):
        load_plain(path)
