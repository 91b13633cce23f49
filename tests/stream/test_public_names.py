"""The public names: the page that lists them, ``__all__``, and what they say of themselves."""

from __future__ import annotations

import importlib
import importlib.resources
import inspect
import pkgutil
import re
from collections.abc import Iterator
from itertools import islice

import pytest

import mien.stream
from mien.tools.demo import demo_clip

PAGE = importlib.resources.files("mien.stream").joinpath("README.md").read_text("utf-8")


def _listed() -> dict[str, list[str]]:
    """Names by the module that the page gives them; a row without one goes on with the last."""
    found: dict[str, list[str]] = {}
    module = ""
    for first, names in re.findall(r"^\| (`mien[\w.]+`)? ?\| (`[^|]+`) \|", PAGE, re.MULTILINE):
        module = first.strip("`") or module
        found.setdefault(module, []).extend(re.findall(r"`(\w+)`", names))
    return found


LISTED = _listed()
NAMES = [(module, name) for module, names in LISTED.items() for name in names]


def _packages() -> Iterator[str]:
    """``mien.stream`` and the packages in it: what they export is meant for others."""
    yield "mien.stream"
    for module in pkgutil.iter_modules(mien.stream.__path__, "mien.stream."):
        if module.ispkg:
            yield module.name


def test_the_page_lists_many_names_once() -> None:
    assert len(LISTED) >= 15
    assert len(NAMES) >= 70
    assert len(set(NAMES)) == len(NAMES)


def test_every_package_of_the_stream_is_on_the_page() -> None:
    assert set(_packages()) <= set(LISTED)


@pytest.mark.parametrize("module", LISTED)
def test_the_page_is_what_is_exported(module: str) -> None:
    exported = getattr(importlib.import_module(module), "__all__", None)
    if exported is None:
        assert module not in set(_packages()), f"{module} exports nothing"
    else:
        assert sorted(LISTED[module]) == sorted(exported)


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_public_name_is_there_and_documented(module: str, name: str) -> None:
    thing = getattr(importlib.import_module(module), name)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        if not thing.__module__.startswith("mien."):
            return  # a type of others under a name of ours
        text = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
        assert text, f"{module}.{name} has no docstring"
        assert not text.startswith(f"{name}("), f"{module}.{name}: the dataclass's, not its own"


def test_the_python_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    with demo_clip() as path:
        short = code.replace("in source:", "in islice(source, 3):")
        exec(compile(short, "README.md", "exec"), {"path": path, "islice": islice})
    assert len(capsys.readouterr().out.splitlines()) == 3
