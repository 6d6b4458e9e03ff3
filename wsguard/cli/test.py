"""`wsguard test`: the unit tests of policies, kept beside them in `*.test.yaml`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsguard.cli import UsageError

if TYPE_CHECKING:
    from wsguard.cli._junit import Result
    from wsguard.cli._trials import Outcome
    from wsguard.policy.load_tests import WrittenTest
    from wsguard.policy.policy_set import PolicySet

HELP = "run the unit tests of policies: requests, and what is to become of them"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("paths", nargs="+", metavar="PATH", type=Path, help="a *.test.yaml file, or a folder of them")
    parser.add_argument("--junit", metavar="FILE", type=Path, help="write the results there too, as JUnit's XML")
    parser.add_argument("--verbose", "-v", action="store_true", help="name the tests that pass as well")


def run(args: argparse.Namespace) -> int:
    """Exit status 0: all passed. 1: some did not. Raises UsageError where the tests or their policies are in error."""
    from wsguard.cli._junit import report

    results = [result for written in _written(args.paths) for result in _results(written)]
    for result in results:
        if result.failure:
            print(f"{result.place}: FAILED {result.name}")
            print("\n".join(f"    {line}" for line in result.failure.splitlines()))
        elif args.verbose:
            print(f"{result.place}: passed {result.name}")
    failed = sum(bool(result.failure) for result in results)
    print(f"{len(results)} tests: {len(results) - failed} passed, {failed} failed")
    if args.junit is not None:
        try:
            args.junit.write_bytes(report(results))
        except OSError as error:
            raise UsageError(f"{args.junit} cannot be written: {error.strerror}") from None
    return 1 if failed else 0


def _written(paths: Sequence[Path]) -> list[WrittenTest]:
    """Every document of tests. Raises UsageError with all that is wrong with any of them."""
    from wsguard.config.files import UnreadableError, policy_test_files, read_bytes
    from wsguard.policy.load_tests import load_tests
    from wsguard.policy.yaml_source import MAX_BYTES, SourceText

    written: list[WrittenTest] = []
    wrong: list[str] = []
    for path in paths:
        try:
            sources = [SourceText(str(file), read_bytes(file, MAX_BYTES)) for file in policy_test_files(path)]
        except UnreadableError as error:
            wrong.append(f"{path}: {error}")
            continue
        for source in sources:
            documents, problems = load_tests(source)
            written += documents
            wrong += map(str, problems)
    _refuse(wrong)
    return written


def _results(written: WrittenTest) -> Iterator[Result]:
    import asyncio
    import time

    from wsguard.cli._junit import Result
    from wsguard.cli._trials import Trials, UnusableTrial

    spec = written.test.spec
    place = written.node.place
    try:
        trials = Trials(written.test, _policies_of(written), time.time())
        for trial in spec.tests:
            place = written.place(trial)
            outcome = asyncio.run(trials.run(trial))
            yield Result(str(place), trial.name, written.test.metadata.name, _failure(outcome))
    except UnusableTrial as error:
        if error.token is not None:
            place = written.node.at(("spec", "tokens", error.token))
        raise UsageError(f"\n{place}: error: {error}") from None


def _policies_of(written: WrittenTest) -> PolicySet:
    """The policies that are tested; the keys that they name may be absent. Raises UsageError."""
    from wsguard.config.files import tested_by
    from wsguard.config.store import examine

    file = Path(written.node.place.file)
    named = written.test.spec.policies
    paths = [tested_by(file)] if named is None else [file.parent / name for name in named]
    examined = examine(paths)
    _refuse([str(problem) for problem in (*examined.loaded.errors, *examined.unreadable)])
    assert examined.loaded.policy_set is not None  # there are no errors
    return examined.loaded.policy_set


def _failure(outcome: Outcome) -> str:
    """What was not as expected, then the guard's way to it; empty where all was."""
    if not outcome.differences:
        return ""
    steps = (f"{step.check}: {'ok' if step.passed else 'NO'}, {step.detail}" for step in outcome.explanation.steps)
    return "\n".join((*outcome.differences, *steps))


def _refuse(wrong: Sequence[str]) -> None:
    if wrong:
        raise UsageError("\n".join(("", *wrong)))
