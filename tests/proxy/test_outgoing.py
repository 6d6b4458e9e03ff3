"""Which subprotocols the backend is offered, and what becomes of its choice, where the policy lists some."""

from __future__ import annotations

import pytest

from tests.proxy.closes import INVALID, refused
from tests.proxy.house import House
from tests.proxy.login import ANN, with_login
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect
from wsguard.policy.model import Compression, Enforcement, Limits

LOOPS = ["uvloop"]

LISTED = Limits(subprotocols=("chat", "superchat"))
TOKEN = [("Authorization", "Bearer abc")]


@pytest.mark.parametrize(
    ("offered", "forwarded", "chosen", "echoed"),
    [
        ("chat", ["chat"], "chat", "chat"),
        ("other, superchat,chat", ["superchat,chat"], "superchat", "superchat"),
        ("chat, other", ["chat"], None, None),
        ("bearer.abc, other, chat", ["chat"], "chat", "chat"),
        ("bearer.abc", [], None, "bearer.abc"),
        (None, [], None, None),
    ],
)
async def test_only_what_is_listed_reaches_the_backend(
    backend: RecordingBackend, offered: str | None, forwarded: list[str], chosen: str | None, echoed: str | None
) -> None:
    """The rest of the list as it came. Who offers nothing is let through, and a credential is no offer."""
    backend.answer = answers.accept(chosen)
    async with House(backend, with_login(limits=LISTED)) as house, connect(house.port) as client:
        house.facts.identity = ANN
        fields = [] if offered and "bearer." in offered else TOKEN
        head = await client.open(wire.upgrade(subprotocols=offered, fields=fields))
        assert head.get("sec-websocket-protocol") == echoed
        conversation = await backend.conversation()
        assert conversation.requests[0].all("sec-websocket-protocol") == forwarded
        conversation.close()


@pytest.mark.parametrize("offered", ["other", "other, CHAT", "bearer.abc, other"])
async def test_where_nothing_is_listed_of_what_is_offered(backend: RecordingBackend, offered: str) -> None:
    """Refused before a credential is asked about; the client's own offer is echoed, so that a browser can read why."""
    async with House(backend, with_login(limits=LISTED)) as house, connect(house.port) as client:
        head = await client.open(wire.upgrade(subprotocols=offered))
        assert head.get("sec-websocket-protocol") == "other"
        assert await client.close_frame() == (4406, "subprotocol-denied")
        await client.rest()
        assert not backend.conversations


async def test_the_backend_may_not_choose_what_was_taken_away(backend: RecordingBackend) -> None:
    backend.answer = answers.accept("other")
    async with House(backend, with_login(limits=LISTED)) as house:
        house.facts.identity = ANN
        assert await refused(house, wire.upgrade(subprotocols="other, chat", fields=TOKEN)) == INVALID


@pytest.mark.parametrize("offered", ["other, chat", "other"])
async def test_audit_takes_nothing_away(backend: RecordingBackend, offered: str) -> None:
    backend.answer = answers.accept("other")
    audit = with_login(limits=LISTED, enforcement=Enforcement.AUDIT)
    async with House(backend, audit) as house, connect(house.port) as client:
        house.facts.identity = ANN
        head = await client.open(wire.upgrade(subprotocols=offered, fields=TOKEN))
        assert head.get("sec-websocket-protocol") == "other"
        (decided,) = house.notebook.decisions
        assert decided.result == ("audited" if offered == "other" else "admitted")
        (await backend.conversation()).close()


DEFLATE = "permessage-deflate; client_max_window_bits"
BOUNDED = "permessage-deflate; client_max_window_bits=10; server_max_window_bits=10"


@pytest.mark.parametrize(
    ("limits", "offered", "forwarded", "chosen", "told"),
    [
        (Limits(compression=Compression.DENY), DEFLATE, [], None, None),
        (Limits(compression=Compression.DENY), DEFLATE + ", x-other", ["x-other"], "x-other", "x-other"),
        (Limits(extensions=("x-other",)), DEFLATE + ", x-other", ["x-other"], None, None),
        (Limits(compression_window_bits=10), DEFLATE, [BOUNDED], BOUNDED, BOUNDED),
        (
            Limits(compression_window_bits=10), DEFLATE, [BOUNDED], "permessage-deflate; server_max_window_bits=9",
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10",
        ),
    ],
)  # fmt: skip
async def test_which_extensions_reach_the_backend(
    backend: RecordingBackend, limits: Limits, offered: str, forwarded: list[str], chosen: str | None, told: str | None
) -> None:
    backend.answer = answers.accept(extensions=chosen)
    async with House(backend, with_login(limits=limits)) as house, connect(house.port) as client:
        house.facts.identity = ANN
        head = await client.open(wire.upgrade(extensions=offered, fields=TOKEN))
        assert head.get("sec-websocket-extensions") == told
        conversation = await backend.conversation()
        assert conversation.requests[0].all("sec-websocket-extensions") == forwarded
        conversation.close()


@pytest.mark.parametrize(
    ("limits", "chosen"),
    [
        (Limits(compression=Compression.DENY), "permessage-deflate"),
        (Limits(extensions=("x-other",)), "permessage-deflate"),
        (Limits(compression_window_bits=10), "permessage-deflate"),
        (Limits(compression_window_bits=10), "permessage-deflate; server_max_window_bits=15"),
    ],
)
async def test_the_backend_may_not_choose_an_extension_that_was_taken_away(
    backend: RecordingBackend, limits: Limits, chosen: str
) -> None:
    backend.answer = answers.accept(extensions=chosen)
    async with House(backend, with_login(limits=limits)) as house:
        house.facts.identity = ANN
        assert await refused(house, wire.upgrade(extensions=DEFLATE, fields=TOKEN)) == INVALID


async def test_a_policy_that_only_audits_says_what_it_would_take_away(backend: RecordingBackend) -> None:
    backend.answer = answers.accept(extensions=DEFLATE)
    audit = with_login(limits=Limits(compression=Compression.DENY), enforcement=Enforcement.AUDIT)
    async with House(backend, audit) as house, connect(house.port) as client:
        house.facts.identity = ANN
        head = await client.open(wire.upgrade(extensions=DEFLATE, fields=TOKEN))
        assert head.get("sec-websocket-extensions") == DEFLATE
        (decided,) = house.notebook.decisions
        assert decided.detail == "not enforced: limits takes every extension out of the offer"
        (await backend.conversation()).close()
