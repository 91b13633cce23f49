"""The bench summary: its runner with tiny questions, its readers, its page."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"

# The bench is no package: its modules find each other beside the script that runs.
sys.path.insert(0, str(BENCH))
try:
    figures, summary_figures, questions, speed, quality, page, summary = (
        importlib.import_module(name)
        for name in (
            "figures",
            "summary_figures",
            "summary_questions",
            "summary_speed",
            "summary_quality",
            "summary_page",
            "summary",
        )
    )
finally:
    sys.path.remove(str(BENCH))

Goal, Figure = summary_figures.Goal, summary_figures.Figure
WRITES = (
    "import sys, json; json.dump({'ratio': 0.5}, open(sys.argv[sys.argv.index('--json') + 1], 'w'))"
)
"""A bench of one line."""


def read_ratio(name: str) -> Callable[[Any], list[Any]]:
    goal = Goal(most=1.0)
    return lambda found: [Figure(name, found[name]["ratio"], "a peer", "5 ms", goal)]


@pytest.fixture
def question(tmp_path: Path) -> Callable[..., Any]:
    """Make one that runs a program of its own."""

    def made(name: str, code: str, limit_s: float = 30.0, **more: Any) -> Any:
        script = tmp_path / f"{name}.py"
        script.write_text(code, encoding="utf-8")
        command = (str(script), "--films", tmp_path / "films")
        return questions.Question(name, questions.FRAME, command, limit_s, read_ratio(name), **more)

    return made


@pytest.fixture
def ask_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Run the whole script with these questions; its status and its page."""

    def run(*listed: Any, words: tuple[str, ...] = ()) -> tuple[int, str]:
        out = tmp_path / "page.md"
        monkeypatch.setattr(summary, "questions", lambda _settings: list(listed))
        monkeypatch.setattr(sys, "argv", ["bench/summary.py", "--out", str(out), *words])
        return summary.main(), out.read_text(encoding="utf-8")

    return run


def test_what_succeeds_is_a_row_and_status_0(question: Any, ask_with: Any) -> None:
    status, text = ask_with(question("good", WRITES))
    assert status == 0
    (row,) = [line for line in text.splitlines() if line.startswith("| good")]
    assert "| 0.5 | a peer | at most 1 | yes | 5 ms |" in row
    assert "good.py --films films`" in row, "paths by their last names"
    assert "Of 1 figures with a goal 1 meet it; 0 of 1 commands failed." in text
    assert text.split("## What failed")[1].strip() == "Nothing."


def test_the_page_has_all_sections_and_says_where_it_was_made(question: Any, ask_with: Any) -> None:
    absent = questions.Absent(questions.ACCURACY, "errors", "--eval is not given")
    _, text = ask_with(question("good", WRITES), absent)
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert titles == [*questions.SECTIONS, "Peers", "What failed"]
    assert "- Not measured: errors: --eval is not given." in text
    for word in ("Python", "numpy", "torch", "mien", "cores", "GiB of memory", "Load"):
        assert word in text.split("## ")[0], word
    assert "MediaPipe Face Landmarker: not given" in text
    assert "licensed files: not given" in text
    assert str(Path.home()) not in text
    assert str(BENCH.parent) not in text


def test_a_question_that_fails_is_named_with_its_last_line(question: Any, ask_with: Any) -> None:
    code = "print('begun'); raise SystemExit('no such film')"
    status, text = ask_with(question("bad", code), question("good", WRITES))
    assert status == 1
    assert "| good | 0.5 |" in text, "the others are asked all the same"
    failed = text.split("## What failed")[1]
    assert "bad.py" in failed
    assert "ended with status 1; its last line: `no such film`" in failed
    assert "1 of 2 commands failed" in text


def test_a_question_that_runs_over_is_killed_with_its_children(
    question: Any, ask_with: Any, tmp_path: Path
) -> None:
    sign = tmp_path / "alive"
    sign.touch()
    child = f"import time\nwhile True: open({str(sign)!r}, 'a').write('.'); time.sleep(0.02)"
    code = (
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); "
        "print('halfway', flush=True); time.sleep(60)"
    )
    begin = time.monotonic()
    status, text = ask_with(question("slow", code, limit_s=2.0))
    assert status == 1
    assert time.monotonic() - begin < 20.0
    assert "ran over its limit of 2 s; its last line: `halfway`" in text
    written = sign.stat().st_size
    time.sleep(0.3)
    assert sign.stat().st_size == written


def test_figures_that_cannot_be_read_are_a_failure(question: Any, ask_with: Any) -> None:
    empty = WRITES.replace("'ratio'", "'other'")
    status, text = ask_with(question("odd", empty), question("silent", "pass"))
    assert status == 1
    assert "its figures cannot be read: KeyError: 'ratio'" in text
    assert "its figures cannot be read: FileNotFoundError" in text


def test_what_is_left_when_the_time_is_over_is_said(question: Any, ask_with: Any) -> None:
    slow = question("slow", "import time; time.sleep(60)", limit_s=1e6)
    status, text = ask_with(slow, question("late", WRITES), words=("--minutes", "0.02"))
    assert status == 1
    assert "late.py --films films` after 0 s: not begun: no time was left" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.16512, "0.165"), (1.2718, "1.27"), (0.0, "0"), (1.0, "1"), (0.000471, "0.000471"),
     (12.345, "12.3"), (1234.5, "1230")],
)  # fmt: skip
def test_ratios_have_three_figures(value: float, text: str) -> None:
    assert page.ratio_text(value) == text


def test_a_goal_may_be_missed_and_a_figure_absent() -> None:
    assert [Goal(most=1 / 3).text, Goal(least=4.0).text] == ["at most 0.333", "at least 4"]
    assert Goal(least=0.7, most=1.4).text == "0.7 to 1.4"
    assert not Goal(least=0.7, most=1.4).met(0.69)
    missed = page.row(Figure("a|b", 1.5, "c", "", Goal(most=1.0)), "d")
    assert missed == "| a\\|b | 1.5 | c | at most 1 | **no** |  | `d` |"
    assert "| not measured |" in page.row(Figure("a", None, "", "not installed"), "d")


def test_all_limits_together_are_the_minutes(tmp_path: Path) -> None:
    for name in ("helen", "dlib", "pointing04", "noface", "video"):
        (tmp_path / name).mkdir()
    there = Path(sys.executable)
    settings = questions.Settings(tmp_path, tmp_path, there, there, tmp_path)
    listed = questions.questions(settings)
    asked = [one for one in listed if isinstance(one, questions.Question)]
    assert sum(one.limit_s for one in asked) <= 60.0 * questions.MINUTES
    assert len({one.name for one in asked}) == len(asked)
    for one in asked:
        program = one.command[0]
        assert program == "mien" or (BENCH / program).is_file()
        assert str(tmp_path) not in one.shown


def test_what_is_not_given_is_named(tmp_path: Path) -> None:
    listed = questions.questions(questions.Settings(tmp_path, films=tmp_path))
    absent = {one.section for one in listed if isinstance(one, questions.Absent)}
    assert {questions.ACCURACY, questions.STABILITY} <= absent


def test_figures_are_plain_json(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "figures.json"
    given = {"a": np.float64(1.5), "b": np.arange(2), "c": (float("nan"), "word"), "d": None}
    figures.write_figures(path, given)
    assert json.loads(path.read_text()) == {"a": 1.5, "b": [0, 1], "c": [None, "word"], "d": None}


def test_speed_is_read_as_ratios() -> None:
    found = {
        "face_work": {
            "median_and_99th_ms": {"mien": [1.2, 2.0], "MediaPipe": [7.0, 9.0]},
            "quartiles_of_ratio": {"MediaPipe": [0.16, 0.17, 0.18]},
        },
        "live": {
            "runs": [
                {"rate": 30.0, "median_99th_max_ms": [4.0, 10.0, 12.0], "lost": 0.0,
                 "core_besides_decoding": 0.08, "cores_overbooked": 0.1,
                 "stages_median_and_99th_ms": {"decode": [1.0, 2.0], "total": [4.0, 5.0]}}
            ],
            "mediapipe": [{"rate": 30.0, "median_99th_max_ms": [8.0, 20.0, 30.0], "core": 0.3}],
        },
        "annotate": {
            "640x480": {
                "frames_a_second": {"mien, 1": 400.0, "decoding, 1": 500.0},
                "ratios_once_begun": {"mien, 1 over decoding, 1": 0.8},
            },
            "two workers over one, once begun": 1.9,
            "two loops over one, once begun": 1.95,
        },
    }  # fmt: skip
    (row,) = speed.face_work(found)
    assert (row.ratio, row.goal.met(row.ratio)) == (0.17, True)
    assert [one.ratio for one in speed.live(found)] == [0.5, 0.5, 0.5, 0.5, 0.08, 0.0, 0.25]
    first, second, machine = speed.annotate(found)
    assert (first.what, first.goal.least) == ("mien annotate, 640x480, 1 thread", 0.6)
    assert (second.ratio, machine.ratio, machine.goal) == (1.9, 1.95, None)


@pytest.mark.parametrize(("faces", "ratio"), [(160, 1.06), (7, 0.03975)])
def test_recorded_errors_count_on_the_same_pictures_only(faces: int, ratio: float) -> None:
    summary_of = {
        "faces": faces,
        "nme": {"mean": 3.975, "median": 3.19},
        "nme_without_jaw": {"mean": 3.04},
    }
    rows = quality.landmarks("helen", {"helen": {"summary": summary_of}})
    assert rows[0].ratio == pytest.approx(ratio)
    assert len(rows) == (3 if faces == 160 else 2)
