from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.identity.conftest import Results
from tests.identity.key_server import HandClock, KeyServer, document
from tests.policy.minting import jwks, provider, public_jwk
from tests.support.certificates import Authority
from tests.support.waiting import eventually
from wsguard.identity.jwks import MAX_ADDRESSES, STALE_LIMIT, JwksCache, JwksUnavailable
from wsguard.policy.keys import MAX_DOCUMENT, KeySet
from wsguard.policy.model import JwtProvider

FIRST, SECOND = jwks(public_jwk("ES256", 1)), jwks(public_jwk("ES256", 2))


def corp(server: KeyServer, query: str = "", **fields: Any) -> JwtProvider:
    """The provider whose keys `server` publishes: fresh for five minutes, asked again after one second."""
    return provider("ES256", remote_jwks={"uri": server.uri + query, **fields})


def names(keys: KeySet) -> list[str | None]:
    return [key.key_id for key in keys.keys]


async def test_keys_are_fetched_once_and_kept_while_fresh(
    cache: JwksCache, server: KeyServer, clock: HandClock, results: Results
) -> None:
    by = corp(server)
    assert cache.peek(by) is None
    keys = await cache.get(by)
    assert names(keys) == ["ES256-1"]
    clock.pass_by(299)
    assert cache.peek(by) is keys
    assert await cache.get(by) is keys
    assert (len(server.fetches), results) == (1, [("corp", "success")])
    clock.pass_by(1)
    assert cache.peek(by) is None
    await cache.get(by)
    assert len(server.fetches) == 2


async def test_a_fetch_that_brings_the_same_leaves_the_set_alone(
    cache: JwksCache, server: KeyServer, clock: HandClock
) -> None:
    keys = await cache.get(corp(server))
    clock.pass_by(300)
    assert await cache.get(corp(server)) is keys
    clock.pass_by(300)
    server.publish(SECOND)
    assert names(await cache.get(corp(server))) == ["ES256-2"]


async def test_policies_that_name_the_same_address_share_its_keys(cache: JwksCache, server: KeyServer) -> None:
    keys = await cache.get(corp(server))
    assert cache.peek(corp(server, cache_duration=60)) is keys
    assert cache.peek(corp(server, "?other")) is None


async def test_all_who_wait_share_one_fetch(cache: JwksCache, server: KeyServer) -> None:
    server.gate.clear()
    waiting = [asyncio.create_task(cache.get(corp(server))) for _ in range(50)]
    await eventually(lambda: server.fetches)
    late = asyncio.create_task(cache.get(corp(server)))
    server.gate.set()
    sets = await asyncio.gather(*waiting, late)
    assert len(set(map(id, sets))) == 1
    assert len(server.fetches) == 1


async def test_one_who_leaves_does_not_end_the_fetch_of_the_others(cache: JwksCache, server: KeyServer) -> None:
    server.gate.clear()
    leaving, staying = (asyncio.create_task(cache.get(corp(server))) for _ in range(2))
    await eventually(lambda: server.fetches)
    leaving.cancel()
    await asyncio.wait([leaving])
    server.gate.set()
    assert names(await staying) == ["ES256-1"]
    assert leaving.cancelled()
    assert len(server.fetches) == 1


# A key that is not known.


async def test_an_unknown_key_is_looked_for_at_once_but_not_too_often(
    cache: JwksCache, server: KeyServer, clock: HandClock
) -> None:
    by = corp(server)
    old = await cache.get(by)
    assert await cache.get(by, besides=old) is old, "the set was fetched just now"
    assert len(server.fetches) == 1
    clock.pass_by(1)
    server.publish(SECOND)
    new = await cache.get(by, besides=old)
    assert names(new) == ["ES256-2"]
    assert await cache.get(by, besides=old) is new, "someone else has fetched it meanwhile"
    for _ in range(20):
        assert await cache.get(by, besides=new) is new
        clock.pass_by(0.04)
    assert len(server.fetches) == 2


async def test_a_flood_of_unknown_keys_is_one_fetch_a_second(
    cache: JwksCache, server: KeyServer, clock: HandClock
) -> None:
    by = corp(server)
    keys = await cache.get(by)
    for second in range(1, 4):
        clock.pass_by(1)
        await asyncio.gather(*(cache.get(by, besides=keys) for _ in range(50)))
        assert len(server.fetches) == 1 + second


async def test_an_issuer_can_withdraw_all_its_keys(cache: JwksCache, server: KeyServer, clock: HandClock) -> None:
    await cache.get(corp(server))
    server.publish(b'{"keys": []}')
    clock.pass_by(300)
    assert names(await cache.get(corp(server))) == []


# A key server in trouble.


async def drip(request: web.Request) -> web.StreamResponse:
    """A byte now and then, without end."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.05)


async def never(request: web.Request) -> web.StreamResponse:
    return await asyncio.Future()


async def chunked(request: web.Request) -> web.StreamResponse:
    """More than is read, of a length that is not told."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(MAX_DOCUMENT // 65536 + 1):
        await response.write(b" " * 65536)
    return response


async def hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def break_off(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + FIRST)
    request.transport.close()
    return web.Response()


async def garbage(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"\x16\x03\x01 not HTTP\r\n\r\n")
    request.transport.close()
    return web.Response()


def broken_head(rest: bytes) -> Callable[[web.Request], Any]:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: s3cr3t\r\n" + rest)
        request.transport.close()
        return web.Response()

    return answer


TROUBLE = [
    (document(b"", 204), "the answer is 204"),
    (document(FIRST, 201), "the answer is 201"),
    (document(FIRST, 404), "the answer is 404"),
    (document(FIRST, 500), "the answer is 500"),
    (document(FIRST, 302, location="/elsewhere"), "the answer is 302"),
    (document(FIRST, 307, location="http://127.0.0.1:1/"), "the answer is 307"),
    (document(b""), "not JSON"),
    (document(b"<html>log in</html>"), "not JSON"),
    (document(b'{"keys": 1}'), "no list 'keys'"),
    (document(b"[" * 10_000), "nested too deeply"),
    (document(b"\xff\xfe"), "not UTF-8"),
    (document(b" " * (MAX_DOCUMENT + 1)), "longer than"),
    (chunked, "longer than"),
    (document(gzip.compress(b" " * (8 << 20)), content_encoding="gzip"), "longer than"),
    (document(b"not gzip", content_encoding="gzip"), ""),
    (hang_up, "disconnected"),
    (break_off, ""),
    (garbage, "no HTTP"),
]


@pytest.mark.parametrize(("answer", "why"), TROUBLE, ids=lambda value: getattr(value, "__name__", value))
async def test_whatever_goes_wrong_leaves_the_keys_unavailable_or_old(
    answer: Callable[..., Any], why: str, cache: JwksCache, server: KeyServer, clock: HandClock, results: Results
) -> None:
    good, server.answer = server.answer, answer
    by = corp(server)
    for _ in range(3):
        with pytest.raises(JwksUnavailable, match=f"no keys of provider corp: .*{why}"):
            await cache.get(by)
    assert results == [("corp", "failure")], "a second has to pass first"
    assert set(server.fetches) == {"/jwks"}, "no redirect is followed"
    server.answer = good
    clock.pass_by(1)
    keys = await cache.get(by)
    assert results == [("corp", "failure"), ("corp", "success")]
    server.answer = answer
    clock.pass_by(300)
    assert await cache.get(by) is keys, "stale while error"
    assert results[2:] == [("corp", "failure")]


@pytest.mark.parametrize("answer", [broken_head(b"Set Cookie: s3cr3t\r\n\r\n"), broken_head(b"Content-Le")])
async def test_trouble_is_told_without_quoting_the_answer(
    answer: Callable[..., Any], cache: JwksCache, server: KeyServer
) -> None:
    server.answer = answer
    with pytest.raises(JwksUnavailable, match="no keys of provider corp: the ") as raised:
        await cache.get(corp(server))
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize("answer", [never, drip])
async def test_a_slow_server_is_waited_for_no_longer_than_the_time_out(
    answer: Callable[..., Any], impatient_cache: JwksCache, server: KeyServer, results: Results
) -> None:
    server.answer = answer
    with pytest.raises(JwksUnavailable, match=r"no complete answer within 0\.5 s"):
        await impatient_cache.get(corp(server))
    assert results == [("corp", "failure")]


async def test_a_dead_server_is_asked_once_a_second_and_old_keys_serve_meanwhile(
    cache: JwksCache, server: KeyServer, clock: HandClock, results: Results
) -> None:
    by = corp(server)
    keys = await cache.get(by)
    await server.stop()
    clock.pass_by(300)
    for _ in range(20):
        assert await cache.get(by) is keys
    assert results == [("corp", "success"), ("corp", "failure")]
    with pytest.raises(JwksUnavailable, match="Cannot connect"):
        await cache.get(by, besides=keys)
    clock.pass_by(1)
    await asyncio.gather(*(cache.get(by) for _ in range(20)))
    await eventually(lambda: len(results) == 3)


async def test_once_the_server_is_in_trouble_nobody_waits_for_it(
    cache: JwksCache, server: KeyServer, clock: HandClock
) -> None:
    by = corp(server)
    keys = await cache.get(by)
    server.answer = document(b"", 503)
    clock.pass_by(300)
    assert await cache.get(by) is keys
    server.gate.clear()
    server.publish(SECOND)
    clock.pass_by(1)
    assert await cache.get(by) is keys, "at once: the gate is shut"
    await eventually(lambda: len(server.fetches) == 3)
    server.gate.set()
    await eventually(lambda: cache.peek(by))
    assert names(await cache.get(by)) == ["ES256-2"], "found in the background"


async def test_old_keys_do_not_serve_for_ever(cache: JwksCache, server: KeyServer, clock: HandClock) -> None:
    by = corp(server)
    keys = await cache.get(by)
    await server.stop()
    clock.pass_by(STALE_LIMIT - 1)
    assert await cache.get(by) is keys
    clock.pass_by(1)
    with pytest.raises(JwksUnavailable):
        await cache.get(by)


async def test_the_operator_is_told_once_of_each_trouble(
    cache: JwksCache, server: KeyServer, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    good, server.answer = server.answer, document(b"", 503)
    for _ in range(5):
        with pytest.raises(JwksUnavailable):
            await cache.get(corp(server))
        clock.pass_by(1)
    server.answer = good
    await cache.get(corp(server))
    assert [record.getMessage() for record in caplog.records if record.name.startswith("wsguard")] == [
        "provider corp: its keys could not be fetched: the answer is 503, 200 is needed",
        "provider corp: its keys were fetched again",
    ]


async def test_a_published_key_of_no_use_is_told(
    cache: JwksCache, server: KeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.publish(jwks(public_jwk("ES256"), public_jwk("RS256", use="enc")))
    assert names(await cache.get(corp(server))) == ["ES256-1"]
    assert "a published key is of no use: key 2: its use is not 'sig'" in caplog.text


async def test_addresses_are_kept_up_to_a_bound(cache: JwksCache, server: KeyServer) -> None:
    for number in range(MAX_ADDRESSES + 1):
        await cache.get(corp(server, f"?{number}"))
    assert cache.peek(corp(server, "?0")) is None
    assert cache.peek(corp(server, f"?{MAX_ADDRESSES}")) is not None
    await cache.get(corp(server, "?0"))
    assert len(server.fetches) == MAX_ADDRESSES + 2


async def test_closing_ends_what_is_under_way(cache: JwksCache, server: KeyServer) -> None:
    server.gate.clear()
    waiting = asyncio.create_task(cache.get(corp(server)))
    await eventually(lambda: server.fetches)
    await cache.close()
    await asyncio.wait([waiting], timeout=5)
    assert waiting.done()


async def test_a_provider_with_local_keys_has_nothing_to_fetch(cache: JwksCache) -> None:
    with pytest.raises(ValueError, match="no remoteJWKS"):
        await cache.get(provider("ES256"))


# TLS.


async def test_a_private_authority_is_trusted_by_its_file_only(
    cache: JwksCache, clock: HandClock, tmp_path: Path
) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    _, key = authority.server("127.0.0.1")
    async with KeyServer(document(FIRST), authority.serving("127.0.0.1")) as server:
        assert names(await cache.get(corp(server, ca_file=str(authority.file)))) == ["ES256-1"]
        for ca_file, why in ((None, "CERTIFICATE_VERIFY_FAILED"), (str(stranger.file), "CERTIFICATE_VERIFY_FAILED")):
            with pytest.raises(JwksUnavailable, match=why):
                await cache.get(corp(server, ca_file=ca_file))
        for broken in (tmp_path / "missing.pem", key):
            with pytest.raises(JwksUnavailable):
                await cache.get(corp(server, ca_file=str(broken)))
        assert len(server.fetches) == 1


async def test_an_address_that_cannot_be_dialled_is_unavailable(cache: JwksCache) -> None:
    for uri in ("http://127.0.0.1:1/jwks", "http://nowhere.invalid/jwks", "https://127.0.0.1:1/"):
        with pytest.raises(JwksUnavailable):
            await cache.get(provider("ES256", remote_jwks={"uri": uri}))


async def test_the_request_asks_for_what_can_be_read(cache: JwksCache, server: KeyServer) -> None:
    asked: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(dict(request.headers))
        return await document(FIRST)(request)

    server.answer = answer
    await cache.get(corp(server))
    (headers,) = asked
    assert headers["Accept"] == "application/jwk-set+json, application/json"
    assert headers["Accept-Encoding"] == "identity"
