"""The audit itself, with its real clients and databases of the test: what it learns, and that it says so."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.dependencies.audit import ROOT, locks
from tests.support.ports import free_port
from tests.support.provision import AUDIT_FOLDER


class Databases:
    """What an OSV server and an npm registry say: nothing, but of what is in `known`."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        """Advisories by the package's name."""
        self.asked: set[str] = set()
        self.url = ""

    async def osv(self, request: web.Request) -> web.Response:
        """One package of PyPI (https://google.github.io/osv.dev/post-v1-query/)."""
        package = (await request.json())["package"]["name"]
        self.asked.add(package)
        if package not in self.known:
            return web.json_response({})
        ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9999.1"}]}]
        affected = {"package": {"name": package, "ecosystem": "PyPI"}, "ranges": ranges}
        stamp = "2026-01-01T00:00:00Z"
        advisory = {"id": self.known[package], "published": stamp, "modified": stamp, "affected": [affected]}
        return web.json_response({"vulns": [{**advisory, "details": "x", "summary": "x"}]})

    async def npm(self, request: web.Request) -> web.Response:
        """Every package of a lock file at once, as npm audit asks."""
        body = await request.read()
        packages = json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        self.asked |= packages.keys()
        return web.json_response({name: [self._of_npm(name)] for name in packages if name in self.known})

    def _of_npm(self, name: str) -> dict[str, Any]:
        url = f"https://github.com/advisories/{self.known[name]}"
        return {"id": 1, "url": url, "title": "x", "severity": "high", "vulnerable_versions": "<9999.1.0"}


@pytest.fixture
async def databases() -> AsyncIterator[Databases]:
    found = Databases()
    app = web.Application()
    app.router.add_post("/v1/query", found.osv)
    app.router.add_post("/-/npm/v1/security/advisories/bulk", found.npm)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """One lock file of each kind, as they are in this project."""
    assert (AUDIT_FOLDER / "bin" / "pip-audit").exists(), "make test installs it"
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    (tmp_path / "tests" / "npm").mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / "tests" / "npm" / name, tmp_path / "tests" / "npm")
    return tmp_path


async def audit(project: Path, url: str, *more: str) -> tuple[int, list[str]]:
    """Its exit status, and what it says of anything but success."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "tests" / "dependencies" / "audit.py"),
        "--root", str(project), "--osv", f"{url}/v1/query", "--registry", url, *more,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode().split("\n")[:-1]


async def test_where_nothing_is_known_every_package_was_asked_about(project: Path, databases: Databases) -> None:
    assert await audit(project, databases.url) == (0, [])
    assert {"aiohttp", "pyjwt", "cachetools", "ws", "socket.io-client"} <= databases.asked


async def test_what_is_known_is_said_with_the_lock_file(project: Path, databases: Databases) -> None:
    databases.known = {"aiohttp": "PYSEC-1-1", "ws": "GHSA-1-1-1", "django": "PYSEC-1-2"}
    status, said = await audit(project, databases.url, "--if-reachable")
    assert status == 1
    pip, *npm = said
    assert pip.startswith("requirements.lock: aiohttp 3.")
    assert pip.endswith(": PYSEC-1-1, mended in 9999.1")
    assert npm == ["tests/npm/package-lock.json: ws <9999.1.0: https://github.com/advisories/GHSA-1-1-1, high"]


async def test_what_cannot_be_asked_is_no_good_news(project: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    status, said = await audit(project, nobody)
    assert status == 2
    assert [line.split(": ")[:2] for line in said] == [
        ["requirements.lock", "not audited"],
        ["tests/npm/package-lock.json", "not audited"],
    ]
    status, said = await audit(project, nobody, "--if-reachable")
    assert status == 0
    assert said[-1].startswith("NOT AUDITED")


async def test_what_one_database_knows_counts_where_the_other_is_silent(project: Path, databases: Databases) -> None:
    databases.known = {"aiohttp": "PYSEC-1-1"}
    status, said = await audit(project, databases.url, "--registry", f"http://127.0.0.1:{free_port()}")
    assert status == 1
    assert len(said) == 2


def test_every_lock_file_is_asked_about() -> None:
    found = {str(path.relative_to(ROOT)) for path in locks(ROOT)}
    assert {"requirements.lock", "requirements-dev.lock", "tests/npm/package-lock.json"} <= found
    assert len(found) == len(list(ROOT.glob("requirements*.lock"))) + 2
