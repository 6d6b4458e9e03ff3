"""Each fuzzer for a moment, and proof that a fuzzer says so when a law is broken."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.__main__ import TARGETS, load

ROOT = Path(__file__).parents[2]


def fuzz(target: str, tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A run of one target, in the process of its own that libFuzzer needs."""
    command = [sys.executable, "-m", "tests.fuzz", target, "--seed", "1", "--artifacts", str(tmp_path), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_found_in_a_moment(target: str, tmp_path: Path) -> None:
    done = fuzz(target, tmp_path, "--seconds", "1")
    assert done.returncode == 0, done.stderr[-4000:]
    found = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    assert found
    assert int(found[1]) > len(load(target).SEEDS), "it has gone beyond what it was given"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_break_nothing(target: str) -> None:
    module = load(target)
    for seed in module.SEEDS:
        module.check(seed)


def test_what_breaks_a_law_is_found_and_kept(tmp_path: Path) -> None:
    done = fuzz("planted", tmp_path, "--runs", "2000000", "--seconds", "60")
    assert done.returncode != 0
    assert "planted: this is what a fuzzer must find" in done.stderr + done.stdout
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith("planted-crash-")
    replayed = fuzz("planted", tmp_path, "--replay", str(kept))
    assert replayed.returncode == 1
    assert "planted: this is what a fuzzer must find" in replayed.stderr
