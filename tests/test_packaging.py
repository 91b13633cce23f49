"""The package is what the folders are: every trap here has been stepped into once."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.resources
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
ROOMS = ("models", "stream", "tools")
# What `import mien.stream` must leave for later; the time a user waits is spent on these.
HEAVY = ("torch", "numba", "filterpy", "scipy", "matplotlib", "onnxruntime")
WEIGHTS_LIMIT_MB = 25.0
_TRAINING = tuple(  # torch
    f"mien.models.{name}"
    for name in ("regressor", "detector", "blendshapes", "learning", "pifuhd", "avatar", "portrait")
)


def pyproject() -> dict[str, Any]:
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))


def source_files(room: str) -> list[Path]:
    """Every file of a room, caches aside, relative to the checkout."""
    return sorted(
        path.relative_to(CHECKOUT)
        for path in (CHECKOUT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    )


def module_names() -> list[str]:
    names = []
    for room in ROOMS:
        for path in source_files(room):
            if path.suffix == ".py":
                parts = path.with_suffix("").parts
                names.append(".".join(("mien", *parts)).removesuffix(".__init__"))
    return names


def installed_room(room: str) -> Path:
    module = importlib.import_module(f"mien.{room}")
    assert module.__file__ is not None
    return Path(module.__file__).resolve().parent


def run_python(code: str, cwd: Path) -> str:
    """Standard output of a fresh interpreter that cannot see the checkout."""
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", code],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_package_list_equals_the_folders() -> None:
    listed = pyproject()["tool"]["setuptools"]["packages"]
    found = {
        ".".join(("mien", *path.parent.parts))
        for room in ROOMS
        for path in source_files(room)
        if path.suffix == ".py"
    }
    assert sorted(listed) == sorted(found)
    assert all(
        (CHECKOUT.joinpath(*name.split(".")[1:]) / "__init__.py").is_file() for name in listed
    )


def test_mien_is_a_namespace_without_init() -> None:
    assert not (CHECKOUT / "__init__.py").exists()
    assert importlib.import_module("mien").__file__ is None


def test_rooms_are_not_importable_by_their_bare_names(tmp_path: Path) -> None:
    for name in module_names():
        if not name.startswith(_TRAINING):
            importlib.import_module(name)
    assert not {"stream", "models", "tools"} & set(sys.modules)
    code = "import importlib.util as u; print([u.find_spec(n) for n in ('stream', 'models')])"
    assert run_python(code, tmp_path) == "[None, None]"


@pytest.mark.skipif(os.environ.get("CI") != "true", reason="only CI must test the built wheel")
def test_ci_tests_the_installed_wheel() -> None:
    for room in ROOMS:
        assert "site-packages" in installed_room(room).parts, installed_room(room)


@pytest.mark.parametrize("room", ROOMS)
def test_every_file_of_the_folder_is_installed_and_no_other(room: str) -> None:
    target = installed_room(room)
    wanted = {path.relative_to(room) for path in source_files(room)}
    installed = {
        path.relative_to(target)
        for path in target.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert installed == wanted
    for path in wanted:
        assert (target / path).read_bytes() == (CHECKOUT / room / path).read_bytes(), path


def test_data_files_are_reachable_and_small() -> None:
    for room in ROOMS:
        assert importlib.resources.files(f"mien.{room}").joinpath("py.typed").is_file()
    weights = importlib.resources.files("mien.models.weights.default")
    for name in ("bundle.toml", "face_model.npz", "regressor.onnx"):
        assert weights.joinpath(name).is_file(), f"{name} is not installed"
    size = sum(len(entry.read_bytes()) for entry in weights.iterdir() if entry.is_file())
    assert size < WEIGHTS_LIMIT_MB * 1e6


def test_the_command_and_the_version_are_installed() -> None:
    distribution = importlib.metadata.distribution("mien")
    assert distribution.version == pyproject()["project"]["version"]
    scripts = [e.value for e in distribution.entry_points if e.group == "console_scripts"]
    assert scripts == ["mien.tools.cli:main"]
    assert (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8").count(distribution.version)


def test_import_stream_is_light(tmp_path: Path) -> None:
    code = f"""
import sys, time
begin = time.process_time()  # of the processor: others may be busy too
import mien.stream
from mien.stream import FaceTracker
took = time.process_time() - begin
assert not [name for name in {HEAVY!r} if name in sys.modules], sorted(sys.modules)
print(took)
"""
    assert min(float(run_python(code, tmp_path)) for _ in range(3)) < 1.0


def imported_modules(path: Path) -> set[str]:
    """Absolute names of what a file imports at any depth; relative ones resolved to rooms."""
    names: set[str] = set()
    package = path.parts[:-1]
    for node in ast.walk(ast.parse((CHECKOUT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            names.add(".".join((*base, *((node.module or "").split(".")))).strip("."))
    return names


def reaches(names: set[str], *tops: str) -> set[str]:
    return {name for name in names if name.removeprefix("mien.").split(".")[0] in tops}


def test_rooms_import_in_one_direction() -> None:
    for path in source_files("models"):
        if path.suffix == ".py":
            assert not reaches(imported_modules(path), "stream", "tools"), path
    for path in source_files("stream"):
        if path.suffix == ".py":
            assert not reaches(imported_modules(path), "tools", "torch"), path


def test_named_exports_exist() -> None:
    for name in module_names():
        path = CHECKOUT.joinpath(*name.split(".")[1:])
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if "__all__" not in source.read_text(encoding="utf-8"):
            continue
        module = importlib.import_module(name)
        missing = [export for export in module.__all__ if not hasattr(module, export)]
        assert not missing, f"{name}.__all__ names {missing}, which it does not have"
        assert len(module.__all__) == len(set(module.__all__)), name


def test_modules_and_functions_stay_small() -> None:
    for room in ROOMS:
        for path in source_files(room):
            if path.suffix != ".py":
                continue
            text = (CHECKOUT / path).read_text(encoding="utf-8")
            assert text.count("\n") < 400, f"{path} has {text.count(chr(10))} lines"
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    first = node.body[1 if ast.get_docstring(node) and node.body[1:] else 0]
                    lines = (node.end_lineno or node.lineno) - first.lineno + 1
                    assert lines <= 60, f"{path}:{node.lineno} {node.name} has {lines} lines"
