"""The script is served from the package, to who may read it, in the encoding that is asked for."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from importlib.resources import files

import pytest
import pytest_asyncio
from aiohttp import web

from tests.proxy.house import House
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect
from tests.support.wire import Head
from wsguard.policy.effective import Effective
from wsguard.policy.model import GuardSpec
from wsguard.proxy.client_script import PATH, ClientScript

LOOPS = ["uvloop"]
HOST = ("Host", "localhost")
SCRIPT = files("wsguard").joinpath("client/client.js").read_bytes()


@pytest_asyncio.fixture
async def house(backend: RecordingBackend) -> AsyncIterator[House]:
    async def route(request: web.BaseRequest, effective: Effective) -> web.StreamResponse:
        return await ClientScript(opened.env)(request, effective)

    opened = House(backend, None, GuardSpec(), routes={PATH: route})
    async with opened:
        yield opened


async def ask(
    house: House, *fields: tuple[str, str], method: str = "GET", host: str = "localhost"
) -> tuple[Head, bytes]:
    async with connect(house.port) as client:
        await client.send(wire.request(method, PATH, [("Host", host), *fields]))
        head = await client.head()
        return head, b"" if method == "HEAD" or head.status == 304 else await client.body(head)


async def test_it_is_served(house: House, backend: RecordingBackend) -> None:
    head, body = await ask(house)
    assert (head.status, body) == (200, SCRIPT)
    assert head.get("content-type") == "text/javascript; charset=utf-8"
    assert head.get("x-content-type-options") == "nosniff"
    assert head.get("cross-origin-resource-policy") == "same-origin"
    assert head.get("access-control-allow-origin") is None
    assert (head.get("cache-control"), head.get("vary")) == ("no-cache", "Accept-Encoding")
    assert not backend.requests


async def test_it_is_compressed_for_who_can_read_that(house: House) -> None:
    head, body = await ask(house, ("Accept-Encoding", "gzip, deflate, br"))
    assert head.get("content-encoding") == "gzip"
    assert gzip.decompress(body) == SCRIPT
    assert len(body) < 4096


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [
        (["gzip"], True),
        (["GZIP;Q=0.5"], True),
        (["br", "gzip"], True),
        (["*"], True),
        (["gzip;q=0"], False),
        (["gzip ; q=0.000, *"], False),
        (["*;q=0"], False),
        (["identity, notgzip"], False),
        ([""], False),
        ([], False),
    ],
    ids=str,
)
async def test_it_is_not_compressed_for_who_will_not_have_it(house: House, accepted: list[str], zipped: bool) -> None:
    head, _ = await ask(house, *(("Accept-Encoding", each) for each in accepted))
    assert (head.get("content-encoding") == "gzip") is zipped


async def test_head_has_the_length_and_no_body(house: House) -> None:
    head, _ = await ask(house, method="HEAD")
    assert (head.status, head.get("content-length")) == (200, str(len(SCRIPT)))


async def test_who_has_it_is_told_so(house: House) -> None:
    tag = (await ask(house))[0].get("etag") or ""
    for known in (tag, f'"other", {tag}', "*", tag.removeprefix("W/")):
        head, _ = await ask(house, ("If-None-Match", known))
        assert (head.status, head.get("etag"), head.get("cache-control")) == (304, tag, "no-cache")
    assert (await ask(house, ("If-None-Match", '"other"')))[0].status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_it_is_only_read(house: House, method: str) -> None:
    head, _ = await ask(house, method=method)
    assert (head.status, head.get("allow")) == (405, "GET, HEAD")


async def test_a_name_that_was_pointed_here_gets_nothing(house: House) -> None:
    assert (await ask(house, host="rebound.test"))[0].status == 421
