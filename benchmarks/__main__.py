"""Measure wsguard beside other proxies: writes docs/performance.md, its plot and the raw figures.

`python -m benchmarks sessions` measures the ends of sessions instead, `python -m benchmarks drain` that of the guard,
`python -m benchmarks flood` what a flood of stalled handshakes does, `python -m benchmarks rollout` a rolling deploy;
all go on the same page.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from benchmarks import drain, flood, rollout, rollout_report, sessions
from benchmarks.drain_report import PICTURE, Drains, draw
from benchmarks.flood_report import Flood
from benchmarks.native import BenchmarkError, compile_tools, echo_backend
from benchmarks.pages import PageError
from benchmarks.peers import PEERS, Peer
from benchmarks.plot import plot
from benchmarks.report import Run, machine, markdown
from benchmarks.rollout_report import Deploys
from benchmarks.sessions_report import Sessions
from benchmarks.workloads import FULL, QUICK, Bench, Effort, Figures

WINDOWS = (10.0, 60.0)  # seconds of a drain, where none is asked for
ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
COMPARED, SESSIONS, DRAINS = "latest.json", "sessions.json", "drain.json"
DEPLOYS, FLOOD = "rollout.json", "flood.json"

F = TypeVar("F")


class Report(Protocol):
    """Figures that can be kept."""

    def to_json(self) -> str:
        """Everything, for another program."""
        ...


def main() -> int:
    """Parse the command line, run, write; returns the exit status."""
    others = {
        "sessions": measure_sessions,
        "drain": measure_drains,
        "flood": measure_flood,
        "rollout": measure_deploys,
    }
    other = others.get(sys.argv[1]) if len(sys.argv) > 1 else None
    return other(sys.argv[2:]) if other else compare()


def measure_sessions(arguments: list[str]) -> int:
    """`python -m benchmarks sessions`."""
    asked = sessions.options(arguments)
    found = _found(sessions.measure(asked.connections, asked.handshakes, asked.rounds), BenchmarkError, PageError)
    if found is not None:
        _publish(found, asked.output, SESSIONS)
    return int(found is None)


def measure_drains(arguments: list[str]) -> int:
    """`python -m benchmarks drain`."""
    asked = drain.options(arguments)
    found = _found(drain.measure(asked.connections, asked.window or WINDOWS), BenchmarkError, PageError)
    if found is not None:
        _publish(found, asked.output, DRAINS, lambda docs: draw(found, docs / PICTURE))
    return int(found is None)


def measure_flood(arguments: list[str]) -> int:
    """`python -m benchmarks flood`."""
    asked = flood.options(arguments)
    found = _found(flood.measure(asked.stalled, asked.seconds), BenchmarkError)
    if found is not None:
        _publish(found, asked.output, FLOOD)
    return int(found is None)


def measure_deploys(arguments: list[str]) -> int:
    """`python -m benchmarks rollout`; 1 too where the deploy with wsguard was not what it must be."""
    asked = rollout.options(arguments)
    found = _found(rollout.measure(asked.clients, asked.window), AssertionError)
    if found is None:
        return 1
    _publish(found, asked.output, DEPLOYS, lambda docs: rollout_report.draw(found, docs / rollout_report.PICTURE))
    broken = found.deploys[0].broken
    for sentence in broken:
        print(f"benchmarks: {sentence}", file=sys.stderr)
    return 1 if broken else 0


def _found(measuring: Coroutine[None, None, F], *expected: type[Exception]) -> F | None:
    """What was measured; None, and a sentence on stderr, where one of `expected` says why it could not be."""
    try:
        return asyncio.run(measuring)
    except expected as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return None


def _publish(
    found: Report, output: Path | None, name: str, picture: Callable[[Path], None] = lambda docs: None
) -> None:
    """Keep the raw figures under `name`, draw their `picture` into the folder of the docs, and write the page anew."""
    docs, results = _folders(output)
    (results / name).write_text(found.to_json())
    picture(docs)
    _write_page(docs, results)


def compare() -> int:
    """`python -m benchmarks`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, printed: to see that it works")
    parser.add_argument("--peers", metavar="A,B", help=f"only these; of {', '.join(PEERS)}")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write everything into this folder")
    options = parser.parse_args()
    names = options.peers.split(",") if options.peers else list(PEERS)
    if unknown := set(names) - set(PEERS):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    peers, left_out = available(names)
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)
    if not peers:
        parser.error("no proxy to measure")
    try:
        run = measure(peers, QUICK if options.quick else FULL, left_out)
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    if options.quick and not options.output:
        print(markdown(run))
    else:
        write(run, options.output)
    return 0


def available(names: list[str]) -> tuple[tuple[Peer, ...], tuple[str, ...]]:
    """The peers that can run here, and a line for each that cannot."""
    problems = {name: PEERS[name].missing() for name in names}
    peers = tuple(PEERS[name] for name in names if not problems[name])
    return peers, tuple(f"{name}: {problem}" for name, problem in problems.items() if problem)


def measure(peers: tuple[Peer, ...], effort: Effort, left_out: tuple[str, ...] = ()) -> Run:
    """All rounds of all workloads. Raises BenchmarkError."""
    began, facts, figures = time.monotonic(), machine(), Figures()
    with tempfile.TemporaryDirectory(prefix="wsguard-bench-") as folder:
        tools = compile_tools(Path(folder))
        with echo_backend(tools) as port:
            bench = Bench(tools, port, peers, effort, figures)
            for number in range(effort.rounds):
                prefix = f"round {number + 1} of {effort.rounds}: "
                bench.round(number, partial(_say, began, prefix))
    versions = {peer.name: peer.version() for peer in peers}
    return Run(figures.values, effort, versions, left_out, facts, time.monotonic() - began)


def _say(began: float, prefix: str, what: str) -> None:
    print(f"{time.monotonic() - began:6.0f} s  {prefix}{what}", file=sys.stderr)


def write(run: Run, output: Path | None) -> None:
    """Write the page, the plot and the raw figures: into the repository, or all into `output`."""
    docs, results = _folders(output)
    (results / COMPARED).write_text(run.to_json())
    plot(run, docs / "performance.svg")
    _write_page(docs, results)


def _folders(output: Path | None) -> tuple[Path, Path]:
    """Where the page goes, and where the raw figures."""
    docs, results = output or ROOT / "docs", output or RESULTS
    for folder in (docs, results):
        folder.mkdir(parents=True, exist_ok=True)
    return docs, results


def _write_page(docs: Path, results: Path) -> None:
    """The page from the raw figures of all kinds: what was not measured now stays as it was measured last."""
    compared = results / COMPARED
    run = Run.from_json((compared if compared.exists() else RESULTS / COMPARED).read_text())
    (docs / "performance.md").write_text(markdown(run, *others(results)))
    print(f"wrote {docs / 'performance.md'} from what is in {results}")


def others(results: Path) -> tuple[Sessions | None, Drains | None, Deploys | None, Flood | None]:
    """What is not compared with other proxies, as far as it was measured."""
    ended, drained, deployed, flooded = (results / name for name in (SESSIONS, DRAINS, DEPLOYS, FLOOD))
    return (
        Sessions.from_json(ended.read_text()) if ended.exists() else None,
        Drains.from_json(drained.read_text()) if drained.exists() else None,
        Deploys.from_json(deployed.read_text()) if deployed.exists() else None,
        Flood.from_json(flooded.read_text()) if flooded.exists() else None,
    )


if __name__ == "__main__":
    sys.exit(main())
