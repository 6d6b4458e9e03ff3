"""The client's half: its table is ours, it behaves as told in a time that a test turns, and it stays small."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.programs import NPM, ROOT, Program, need
from wsguard import __version__
from wsguard.protocol.closing import Codebook
from wsguard.protocol.profiles import advice_for
from wsguard.protocol.reasons import Advice, CloseReason

CLIENT = ROOT / "wsguard/client"


def closes() -> Iterator[dict[str, object]]:
    """Every close that the guard sends in its default profile, in both wordings, and what it advises."""
    for book in (Codebook(), Codebook(coarse=True)):
        for reason in CloseReason:
            statuses = range(200, 600) if reason is CloseReason.BACKEND_REFUSED else [None]
            for status in statuses:
                if status in (440, 441):  # read as the end of a session; Microsoft's servers mean that by 440
                    continue
                advice = advice_for(reason, status)
                if advice is not Advice.NOTHING:
                    text = book.text(reason, status, retry_after=5.25)
                    yield {"code": book.code(reason, status), "reason": text, "advice": advice.value}


async def passes(script: str, **env: str) -> None:
    """The tests in `script` pass."""
    async with Program(need("node"), "--test", NPM / script, env={**os.environ, **env}, cwd=NPM) as program:
        assert await program.wait(60) == 0, "\n".join(program.lines)


async def test_it_reads_each_close_as_the_guard_means_it() -> None:
    await passes("client-table.test.mjs", TABLE=json.dumps(list(closes())))


@pytest.mark.parametrize("script", ["client-life.test.mjs", "client-page.test.mjs", "client-faults.test.mjs"])
async def test_it_lives_as_it_is_told(script: str) -> None:
    await passes(script)


def test_it_is_small() -> None:
    assert len(gzip.compress((CLIENT / "client.js").read_bytes(), 9)) < 4096


def test_it_has_no_dependency_and_the_version_of_the_guard() -> None:
    package = json.loads((CLIENT / "package.json").read_text("utf-8"))
    assert package["version"] == __version__
    assert not {name for name in package if name.lower().endswith("dependencies")}
    assert "import" not in (CLIENT / "client.js").read_text("utf-8")


@pytest.mark.parametrize("name", ["client.js", "client.d.ts"])
def test_the_package_ships_what_it_names(name: str) -> None:
    package = json.loads((CLIENT / "package.json").read_text("utf-8"))
    assert name in package["files"]
    assert (CLIENT / Path(name)).is_file()


async def test_its_types_hold() -> None:
    command: list[str | Path] = [
        NPM / "node_modules/.bin/tsc",
        "--noEmit",
        "--strict",
        "--target",
        "es2022",
        "--lib",
        "es2022,dom",
    ]
    module = ["--module", "nodenext", "--moduleResolution", "nodenext", "types.ts"]
    async with Program(need("node"), *command, *module, cwd=Path(__file__).parent) as program:
        assert await program.wait(60) == 0, "\n".join(program.lines)
