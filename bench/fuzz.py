"""Does any file or message from elsewhere bring mien down?

    python bench/fuzz.py [--inputs 1000000] [--seed 0] [--only PARSER] [--minutes M] [--out DIR]

Every parser of foreign bytes (``fuzz_parsers.py``) is given its seeds, spoiled in many ways
(``fuzz_mutate.py``). One in four runs with mien's lines counted: what reaches new ones is spoiled
further. Only the parser's documented errors may come out, in one line each; anything else, more
than 2 s of the processor, more than 512 MB, or a dead process is a finding, and lies with its input
in ``--out``. The same seed makes the same inputs. Exit status 1 where there is a finding.
"""

from __future__ import annotations

import argparse
import mmap
import multiprocessing
import os
import struct
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Final

from fuzz_guard import Finding, Lines, check
from fuzz_mutate import MOST_BYTES, spoiled
from fuzz_parser import Parser
from fuzz_parsers import all_parsers

_EVERY: Final = 4
"""Of so many inputs one is run with its lines counted."""
_ADDRESS_BYTES: Final = 24 << 30
_HEAD: Final = struct.Struct("<qq")
_DEATHS: Final = 20


@dataclass
class Outcome:
    """What one parser did.

    Attributes:
        inputs: that it was given.
        kept: that reached new lines.
        lines: of mien that ran.
        findings: by key, with their number and the first input.
    """

    inputs: int = 0
    kept: int = 0
    lines: int = 0
    findings: dict[str, tuple[Finding, int, bytes]] = field(default_factory=dict)

    def note(self, finding: Finding, data: bytes) -> None:
        known = self.findings.get(finding.key)
        count = 1 if known is None else known[1] + 1
        self.findings[finding.key] = (finding, count, data if known is None else known[2])


def explore(
    parser: Parser, inputs: int, seed: int, until: float, board: mmap.mmap, first: int, out: Outcome
) -> None:
    """Give a parser its inputs from ``first`` on; the one at work stands on the board."""
    with tempfile.TemporaryDirectory(prefix="mien-fuzz-") as name:
        for place in ("seeds", "work"):
            (Path(name) / place).mkdir()
        corpus = list(parser.seeds(Path(name) / "seeds"))
        folder, lines = Path(name) / "work", Lines()
        for data in corpus:  # what is imported and compiled here is not the input's fault
            finding = check(parser, data, folder)
            if finding is not None and finding.kind not in ("hang", "memory"):
                out.note(finding, data)
        for data in corpus:
            check(parser, data, folder, lines)
        for number in range(first, inputs):
            if time.monotonic() > until:
                break
            rng = Random(f"{seed} {parser.name} {number}")
            data = spoiled(corpus, parser.form, rng)
            board[: _HEAD.size + len(data)] = _HEAD.pack(number, len(data)) + data
            counted = number % _EVERY == 0
            before = len(lines)
            finding = check(parser, data, folder, lines if counted else None)
            out.inputs += 1
            if finding is not None:
                out.note(finding, data)
            elif counted and len(lines) > before:
                corpus.append(data)
                out.kept += 1
        out.lines = len(lines)


def _child(
    parser: Parser, inputs: int, seed: int, until: float, board: mmap.mmap, first: int,
    answer: Connection,
) -> None:  # fmt: skip
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_BYTES, _ADDRESS_BYTES))
    # libpng, FFmpeg and onnxruntime say what they think of such files.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    outcome = Outcome()
    explore(parser, inputs, seed, until, board, first, outcome)
    answer.send(outcome)


def run_parser(parser: Parser, inputs: int, seed: int, until: float) -> Outcome:
    """Explore in a process of its own, and in a new one after each death."""
    context = multiprocessing.get_context("fork")
    board = mmap.mmap(-1, _HEAD.size + 2 * MOST_BYTES)
    total, first = Outcome(), 0
    for _ in range(_DEATHS):
        here, there = context.Pipe(duplex=False)
        board[: _HEAD.size] = _HEAD.pack(first - 1, 0)
        child = context.Process(
            target=_child, args=(parser, inputs, seed, until, board, first, there)
        )
        child.start()
        there.close()
        try:
            part = here.recv()
        except EOFError:
            part = None
        child.join()
        number, size = _HEAD.unpack(board[: _HEAD.size])
        if part is not None:
            total.inputs += part.inputs
            total.kept, total.lines = max(total.kept, part.kept), max(total.lines, part.lines)
            for key, (finding, count, data) in part.findings.items():
                total.findings.setdefault(key, (finding, count, data))
            break
        text = f"the process ended with {child.exitcode} at input {number}"
        data = board[_HEAD.size : _HEAD.size + size]
        total.note(Finding("crash", f"{parser.name} {child.exitcode}", text), data)
        total.inputs += max(number + 1 - first, 0)
        first = number + 1
    return total


def shares(parsers: Sequence[Parser], inputs: int) -> dict[str, int]:
    """How many inputs each gets; together as many as asked for, or a few more."""
    whole = sum(parser.share for parser in parsers)
    return {parser.name: -int(-inputs * parser.share // whole) for parser in parsers}


def _keep(out: Path, name: str, outcome: Outcome) -> None:
    for finding, _, data in outcome.findings.values():
        folder = out / name / f"{finding.kind.replace(' ', '-')}-{sha256(data).hexdigest()[:10]}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "input").write_bytes(data)
        (folder / "what.txt").write_text(
            f"{finding.key}\n{finding.text}\n{finding.trace}", encoding="utf-8", errors="replace"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--inputs", type=int, default=100_000, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="PARSER", help="names that begin so")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="in all, at most")
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"), metavar="DIR")
    asked = parser.parse_args()
    parsers = [p for name, p in all_parsers().items() if name.startswith(asked.only)]
    if not parsers:
        parser.error(f"--only {asked.only}: expected one of {', '.join(all_parsers())}")
    counts = shares(parsers, asked.inputs)
    print(f"seed {asked.seed}; {len(parsers)} parsers, {asked.inputs} inputs", flush=True)
    print(f"\n| {'parser':20} | {'inputs':>8} | {'kept':>5} | {'lines':>5} | {'s':>6} | findings |")
    print(f"|{'-' * 22}|{'-' * 9}:|{'-' * 6}:|{'-' * 6}:|{'-' * 7}:|{'-' * 9}:|", flush=True)
    begun, given, found = time.monotonic(), 0, 0
    for position, one in enumerate(parsers):
        now = time.monotonic()
        left = begun + 60 * asked.minutes - now
        outcome = run_parser(
            one, counts[one.name], asked.seed, now + left / (len(parsers) - position)
        )
        given, found = given + outcome.inputs, found + len(outcome.findings)
        print(
            f"| {one.name:20} | {outcome.inputs:8} | {outcome.kept:5} | {outcome.lines:5} "
            f"| {time.monotonic() - now:6.1f} | {len(outcome.findings):8} |", flush=True,
        )  # fmt: skip
        for finding, count, _ in outcome.findings.values():
            print(f"    {count} x {finding.key}: {finding.text[:150]!r}", flush=True)
        _keep(asked.out, one.name, outcome)
    print(f"\n{given} inputs, {found} findings" + (f" in {asked.out}" if found else ""))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
