"""What the tests change in a printed command, and which printed commands they leave out.

Amounts alone are changed, so that hours become seconds: which options are said stays.
"""

from __future__ import annotations

import re
import shlex

from .steps import Step

AMOUNTS = {
    r"fuzz.py --inputs \d+": "fuzz.py --inputs 100 --only option-words",
    r"(synthesize faces .*--count) \d+": r"\1 10 --shard-size 2 --workers 1",
    r"(synthesize closeups .*--count) \d+": r"\1 6 --shard-size 2 --workers 1",
    r"(synthesize scenes .*--count) \d+": r"\1 6 --shard-size 2 --workers 1",
    r"(synthesize (?:heads|bodies) .*--count) \d+": r"\1 3 --views 1 --size 64 --workers 1",
    r"(synthesize portraits .*--count) \d+": r"\1 4 --looks 1 --views 2 --workers 1",
    r"(synthesize scans .*--count) \d+ --expressions 18": r"\1 2 --expressions 2 --workers 1",
    r"(evaluation-set .*)--clips 24 --frames 240": r"\1--clips 1 --frames 12",
    r"(evaluation-set (?!.*--clips).*)": r"\1 --pictures 12 --clips 1 --frames 10",
    r"(build-face-model .*)": r"\1 --identities 400 --expressions 100",
    r"(train regressor .*)--minutes \d+": (
        r"\1--images 8 --batch 4 --init bundle --learning-rate 1e-9"
    ),
    r"(train detector .*)--minutes \d+": r"\1--images 4 --batch 2",
    r"(train blendshapes .*)--minutes \d+": r"\1--images 4 --batch 2",
    r"(train pifuhd .*)--minutes \d+": r"\1--steps 1 --batch 1 --points 100",
    r"(train \w+ .*)--minutes \d+": r"\1--steps 1 --batch 2",
    r"(tune-smoother .*)": r"\1 --videos 16 --workers 1",
    r"(mien keyframes .*) --count 3": r"\1 --count 1",
    r"(mien keyframes (?!.*--count).*)": r"\1 --count 1",
    r"(reconstruct .*) --resolution 512": r"\1 --resolution 64",
    r"(reconstruct (?!.*--resolution).*)": r"\1 --resolution 64",
    r"(mien avatar .*) --every 4": r"\1 --every 15",
    r"(mien avatar (?!.*--every).*--video.*)": r"\1 --every 15",
    r"(mien avatar .*--people) 4": r"\1 2",
    r"(mien avatar .*)": r"\1 --steps 2",
    r"(mien portrait --keyframe .*)": r"\1 --steps 1 --invert-steps 1 --tuning-steps 1 --cells 32",
    r"(evaluate-models pifuhd .*)": r"\1 --resolution 64 --mean-of 2",
    r"(evaluate-models portrait .*--count) 8": r"\1 1 --steps 1",
    r"(evaluate-models avatar .*)": (
        r"\1 --count 1 --expressions 1 --steps 2 --seeds 1 --calibration 2"
    ),
}
"""Printed amounts, or none where the default is large, and those of the tests.

Eight pictures teach nothing, and later commands need a network that finds a face: so the regressor
begins from the shipped weights and stays there.
"""

CONSTANTS = {
    "mien.models.scans.template_make._PEOPLE": 62,
    "mien.tools.tune_smoother.command._STILLS": 24,
    "mien.tools.tune_smoother.command._CLIPS": 1,
    "mien.tools.tune_smoother.command._FRAMES": 125,
    "mien.tools.tune_smoother.command._TRAJECTORIES": 2,
    "mien.tools.tune_smoother.command._TRAJECTORY_S": 3.0,
    "mien.tools.tune_smoother.command._FEWEST": 16,
    "mien.stream.smoother.motion_fit._EVALUATIONS": 2,
    "mien.stream.smoother.tuner._ROUNDS": 1,
}
"""Amounts that no option says."""

EXCEPT = {
    r"(python3 -m venv|\.venv/bin/pip) .*": "the README's two: .ci/run types them word for word",
    "pip install .*": ".ci/run installs the extras, or the test environment has them",
    "mien track 0 --rerun": "needs a viewer; tests/stream/test_outputs_recorded.py writes a file",
    ".* --ray head-node:6379 .*": "needs a cluster; tests/tools/test_ray.py begins one",
    "mien import-3ddfa NETWORK .*": "names stand for files: models/tddfa/README.md has them",
    "mien tune-smoother --bundle DIR": "tools/TRAINING.md tunes the bundle that it makes",
    "python bench/summary.py": "20 minutes; tests/bench/test_summary.py asks tiny questions",
}
"""Printed commands that are not run, and why."""

BEFORE = {
    "models/pifuhd/README.md": ("mien annotate talk.mp4 --out faces",),
    "models/weights/avatar/MODEL_CARD.md": (
        "mien synthesize scans --out first --count 300 --expressions 18",
    ),
}
"""What a page begins from, by the commands that it, or the README, says to use."""

LIGHT = (
    *("README.md", "SECURITY.md", "stream/export/README.md"),
    *("tools/RECIPES.md", "tools/live/README.md"),
)
"""Pages whose commands run without torch, those of :data:`TORCH` aside."""
TORCH = re.compile(
    "mien (reconstruct|avatar|portrait|build-face-model|synthesize|train|export|tune-smoother"
    "|import-3ddfa|evaluate-models)"
)


def excepted(step: Step) -> bool:
    """Whether a printed command is not run."""
    return any(re.fullmatch(pattern, step.line) for pattern in EXCEPT)


def reduced(step: Step) -> str:
    """The command with the amounts of the tests."""
    line = step.line
    for pattern, small in AMOUNTS.items():
        if re.search(pattern, step.line):
            line = re.sub(pattern, small, line, count=1)
    return line


def words_of(step: Step) -> list[str]:
    """What the tests type, split as a shell would."""
    return shlex.split(reduced(step))
