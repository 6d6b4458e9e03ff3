"""`python -m tests.fuzz TARGET...`: let atheris look for bytes that break a target. Ends with 1 where it found some.

What was found is written to `--artifacts`; `--replay FILE` runs the target on it once more.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, cast

TARGETS = ("scanner", "handshake", "credentials", "policies", "proxy_header", "event_tokens", "backend_answer")


class Target(Protocol):
    """A module of this package."""

    SEEDS: Sequence[bytes]
    check: Callable[[bytes], None]


def load(name: str) -> Target:
    """The target's module. Raises ModuleNotFoundError."""
    return cast("Target", importlib.import_module(f"tests.fuzz.{name}"))


def main(arguments: Sequence[str]) -> int:
    """Several targets are run one after the other, each in a process of its own: libFuzzer ends the one it is in."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", default=TARGETS, metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="how long to look, for each target")
    parser.add_argument("--runs", type=int, default=-1, help="how many inputs to try at most, for each target")
    parser.add_argument("--seed", type=int, default=0, help="of the fuzzer's randomness; 0: another each time")
    parser.add_argument(
        "--corpus", type=Path, help="a folder in which to keep what reached new code, for the next time"
    )
    parser.add_argument(
        "--artifacts", type=Path, default=Path(".make/fuzz"), help="where to write what breaks a target"
    )
    parser.add_argument("--replay", type=Path, help="run one target on this file, and no other")
    options = parser.parse_args(arguments)
    if options.replay is not None:
        for name in options.targets:
            load(name).check(options.replay.read_bytes())
        return 0
    if len(options.targets) > 1:
        shared = [argument for argument in arguments if argument not in options.targets]
        ends = [subprocess.call([sys.executable, "-m", "tests.fuzz", name, *shared]) for name in options.targets]
        return max(ends)
    _fuzz(options.targets[0], options)
    return 0


def _fuzz(name: str, options: argparse.Namespace) -> None:
    """Does not return: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["wsguard"]):
        target = load(name)
    options.artifacts.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(target.SEEDS):
            Path(folder, f"{number:03}").write_bytes(seed)
        kept = []
        if options.corpus is not None:
            (options.corpus / name).mkdir(parents=True, exist_ok=True)
            kept = [str(options.corpus / name)]
        flags = {
            "max_total_time": options.seconds,
            "runs": options.runs,
            "seed": options.seed,
            "timeout": 20,
            "rss_limit_mb": 2048,
            "print_final_stats": 1,
            "verbosity": 1,
            "artifact_prefix": f"{options.artifacts}/{name}-",
        }
        atheris.Setup([name, *(f"-{flag}={value}" for flag, value in flags.items()), *kept, folder], target.check)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
