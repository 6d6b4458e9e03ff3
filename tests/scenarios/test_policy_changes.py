"""A guard whose policies change while connections live: conditions in CEL, and `onReload: Rejudge`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import RawClient, connect
from tests.support.guard import JWT, Guard, policy
from tests.support.waiting import eventually

OWN, PARTNER = "http://localhost", "https://partner.example"


def spec(path: str, origins: str, rest: str = "", on_reload: str = "Rejudge") -> str:
    """A policy's spec for everything below `path`."""
    return f"""
match: {{paths: [{{type: PathPrefix, value: {path}}}]}}
origin: {{allowOrigins: [{origins}]}}
session: {{onReload: {on_reload}}}
{rest}
"""


@asynccontextmanager
async def admitted(guard: Guard, path: str, origin: str = OWN, token: str = "") -> AsyncIterator[RawClient]:
    """A client that came in."""
    fields = [("Cookie", f"session={token}")] if token else []
    async with connect(guard.port) as client:
        await client.open(wire.upgrade(path, origin=origin, fields=fields))
        yield client


async def test_a_changed_folder_judges_live_connections_again(backend: RecordingBackend) -> None:
    """Each is told why; who may stay, stays, and so does whoever lives under a policy that keeps."""
    texts = {
        "chat.yaml": policy(spec("/chat", f"SameHost, '{PARTNER}'", JWT), "chat"),
        "keep.yaml": policy(spec("/keep", f"SameHost, '{PARTNER}'", on_reload="Keep"), "keep"),
        "gone.yaml": policy(spec("/gone", "SameHost"), "gone"),
    }
    gold = """
authorization: {rules: [{name: gold, action: Allow, cel: "claims.tier == 'gold'"}]}
"""
    async with Guard(backend, texts) as guard, AsyncExitStack() as stack:
        good, bad = guard.issuer.token("ann", tier="gold"), guard.issuer.token("bob", tier="tin")
        foreign = await stack.enter_async_context(admitted(guard, "/chat", PARTNER, good))
        golden = await stack.enter_async_context(admitted(guard, "/chat", OWN, good))
        tin = await stack.enter_async_context(admitted(guard, "/chat", OWN, bad))
        kept = await stack.enter_async_context(admitted(guard, "/keep", PARTNER))
        guard.write("gone.yaml", policy(spec("/elsewhere", "SameHost"), "gone"))
        await guard.log({"event": "connections_rejudged", "judged": 3, "cut": 0})
        gone = await stack.enter_async_context(admitted(guard, "/elsewhere"))
        (guard.folder / "gone.yaml").unlink()
        assert await gone.close_frame(20) == (4404, "no-policy")
        guard.write("keep.yaml", policy(spec("/keep", "SameHost", on_reload="Keep"), "keep"))
        guard.write("chat.yaml", policy(spec("/chat", "SameHost", JWT + gold), "chat"))
        assert await foreign.close_frame(20) == (4403, "origin-denied")
        assert await tin.close_frame(20) == (4403, "not-authorized")
        for client in (golden, kept):
            await client.send(wire.frame(wire.TEXT, b"still here"))
        await eventually(lambda: sum(b"still here" in wire_of(each.received) for each in backend.conversations) == 2)
        line = await guard.ended(reason="not-authorized")
        assert (line["detail"], line["subject"]) == ("no rule matches: defaultAction Deny", "bob")
        assert {each["policy"] for each in await guard.connections()} >= {"chat", "keep"}


def wire_of(received: bytearray) -> bytes:
    """The payloads of all frames behind the head."""
    data, payloads = bytearray(bytes(received).partition(b"\r\n\r\n")[2]), b""
    while frame := wire.take_frame(data):
        payloads += frame.payload
    return payloads


async def test_a_condition_that_cannot_be_told_is_in_the_log(backend: RecordingBackend) -> None:
    """It lets nobody in; where another rule does, the admission says what was amiss."""
    rules = """
authorization:
  rules:
  - {name: gold, action: Allow, cel: "claims.tier == 'gold'"}
  - {name: office, action: Allow, cel: "client_ip == '127.0.0.1' && request.path == '/ws/in'"}
"""
    unclear = """the cel of rule 'gold' cannot be told: there is no "tier\""""
    async with Guard(backend, policy(JWT + rules)) as guard:
        async with admitted(guard, "/ws/in", token=guard.issuer.token()):
            line = await guard.decided(path="/ws/in")
            assert (line["result"], line["detail"]) == ("admitted", unclear)
        async with connect(guard.port) as client:
            await client.open(wire.upgrade("/ws", origin=OWN, fields=[("Cookie", f"session={guard.issuer.token()}")]))
            assert await client.close_frame() == (4403, "not-authorized")
        line = await guard.decided(path="/ws")
        assert line["detail"] == f"no rule matches: defaultAction Deny; {unclear}"
        async with admitted(guard, "/ws", token=guard.issuer.token(tier="gold")):
            line = await guard.decided(path="/ws", result="admitted")
            assert "detail" not in line or line["detail"] is None
