"""Every parser of foreign bytes answers spoiled files with its documented errors, in one line.

``bench/fuzz.py`` does the same for hours; the parsers are those of ``bench/fuzz_parsers.py``.
"""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CHECKOUT = Path(__file__).resolve().parents[1]
BENCH = CHECKOUT / "bench"
_EXAMPLES = 10


# The bench is no package: its modules find each other beside the script that runs.
sys.path.insert(0, str(BENCH))
try:
    guard, mutation, registry = (
        importlib.import_module(f"fuzz_{name}") for name in ("guard", "mutate", "parsers")
    )
    PARSERS: dict[str, Any] = registry.all_parsers()
finally:
    sys.path.remove(str(BENCH))


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "seeds").mkdir()
    (tmp_path / "work").mkdir()
    return tmp_path


def _seeds(parser: Any, scratch: Path) -> list[bytes]:
    """Its seeds, read once: what is imported and compiled then is no input's fault."""
    seeds = list(parser.seeds(scratch / "seeds"))
    for data in seeds:
        finding = guard.check(parser, data, scratch / "work")
        assert finding is None or finding.kind in ("hang", "memory"), finding
    return seeds


@pytest.mark.parametrize("name", list(PARSERS))
def test_only_documented_errors_come_out(name: str, scratch: Path) -> None:
    parser = PARSERS[name]
    seeds = _seeds(parser, scratch)
    examples = _EXAMPLES if parser.share >= 0.2 else 3

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )  # fmt: skip
    @given(st.integers(0, 2**63))
    def answered(seed: int) -> None:
        data = mutation.spoiled(seeds, parser.form, Random(seed))
        finding = guard.check(parser, data, scratch / "work")
        assert finding is None, f"{finding.key}: {finding.text}\n{finding.trace}\n{data[:2000]!r}"

    answered()


@pytest.mark.parametrize("name", ["camera.json", "rows.parquet", "wire-message", "mesh.ply"])
def test_seeds_are_files_that_mien_reads(name: str, scratch: Path) -> None:
    if name not in PARSERS:
        pytest.skip("its packages are not installed")
    parser = PARSERS[name]
    for data in parser.seeds(scratch / "seeds"):
        assert parser.parse(data, scratch / "work") is not None


def test_parsers_of_networks_are_among_them() -> None:
    pytest.importorskip("torch", reason="reads checkpoints (extra: heavy)")
    assert {"checkpoint", "weights-portrait", "eg3d-settings"} <= PARSERS.keys()
    assert len(PARSERS) > 110


def test_the_same_seed_spoils_in_the_same_way() -> None:
    seeds = [b'{"a": [1, 2, {"b": 0.5}]}', b"frame,x\n1,2\n"]
    for form in ("json", "csv", "bytes", "zip", "no such form"):
        one, two = ([mutation.spoiled(seeds, form, Random(k)) for k in range(50)] for _ in range(2))
        assert one == two
        assert len(set(one)) > 10


def test_whatever_else_comes_out_is_a_finding(tmp_path: Path) -> None:
    def parse(data: bytes, _: Path) -> object:
        if data == b"slow":
            while True:
                pass
        if data == b"lines":
            raise ValueError("one\ntwo")
        return data.decode("ascii")

    parser = registry.Parser("x", "bytes", lambda _: [b"a"], parse, (ValueError,))
    assert guard.check(parser, b"a", tmp_path) is None
    assert guard.check(parser, b"\xff", tmp_path) is None  # a UnicodeDecodeError is a ValueError
    assert guard.check(parser, b"lines", tmp_path).kind == "several lines"
    unforeseen = registry.Parser("x", "bytes", lambda _: [b"a"], parse, ())
    assert guard.check(unforeseen, b"\xff", tmp_path).kind == "UnicodeDecodeError"


def test_the_script_reports_what_it_ran(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH / "fuzz.py"), "--inputs", "300", "--only", "camera.json"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "found")],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| camera.json" in done.stdout
    assert "300 inputs, 0 findings" in done.stdout
    assert not (tmp_path / "found").exists()


_UNSAFE = {
    ("torch", "load"): "weights_only",
    ("np", "load"): "allow_pickle",
    ("pickle", "load"): "",
    ("pickle", "loads"): "",
    ("yaml", "load"): "",
}


def test_nothing_unpickles_or_evaluates_what_others_wrote() -> None:
    for room in ("models", "stream", "tools"):
        for path in (CHECKOUT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                where = f"{path}:{node.lineno}"
                if isinstance(node.func, ast.Name):
                    assert node.func.id not in ("eval", "exec"), where
                if not isinstance(node.func, ast.Attribute):
                    continue
                owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
                needed = _UNSAFE.get((owner, node.func.attr))
                if needed is not None:
                    said = {one.arg: ast.unparse(one.value) for one in node.keywords}
                    wanted = {"weights_only": "True", "allow_pickle": "False"}.get(needed)
                    assert wanted is not None, where
                    assert said.get(needed) == wanted, where
