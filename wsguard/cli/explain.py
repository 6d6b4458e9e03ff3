"""`wsguard explain`: what would become of a handshake, and which check says so."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from wsguard.cli import UsageError

if TYPE_CHECKING:
    from wsguard.cli._explanation import Admission, Explanation, Step
    from wsguard.cli._replay import Replay
    from wsguard.policy.model import Listener

HELP = "print a decision step by step: what would become of a handshake, and why"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "--policy", action="append", required=True, metavar="PATH", help="a policy file or a folder of them"
    )
    parser.add_argument("--url", metavar="URL", help="what the client dials (default: the listener's address, path /)")
    parser.add_argument(
        "--origin", metavar="ORIGIN", help="the page that dials (default: no Origin, as from a program)"
    )
    parser.add_argument("--header", action="append", default=[], metavar="'N: V'", help="a request header field")
    parser.add_argument(
        "--cookie", action="append", default=[], metavar="N=V", help="a cookie; - reads cookies from standard input"
    )
    parser.add_argument(
        "--first-message", metavar="TEXT", help="what the client says first; - reads it from standard input"
    )
    parser.add_argument(
        "--stream",
        choices=("WebSocket", "ServerSentEvents", "LongPolling"),
        default="WebSocket",
        help="what the client asks for (default: %(default)s)",
    )
    parser.add_argument("--method", default="GET", help="that of a long poll (default: %(default)s)")
    parser.add_argument("--remote-ip", default="127.0.0.1", metavar="IP", help="the TCP peer (default: %(default)s)")
    parser.add_argument(
        "--replay", metavar="LINE", help="judge a handshake again that is in the audit trail; - reads its line"
    )
    parser.add_argument("--json", action="store_true", help="print it as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Explain one handshake; returns 0, whatever the verdict. Raises UsageError."""
    import asyncio

    from wsguard.config.store import ConfigError
    from wsguard.ops.redact import printable

    told: Explanation | Replay
    try:
        if args.replay is not None:
            told = replay = _replay(args)
            verdict: Iterable[str] = (replay.verdict,)
        else:
            told = explanation = asyncio.run(_explain(args))
            verdict = _verdict(explanation)
    except ConfigError as error:
        raise UsageError(str(error)) from None
    if args.json:
        print(_as_json(told))
    else:  # a subject, an Origin and a line of the trail are a stranger's words
        print("\n".join(map(printable, (*_steps(told.steps), "", *verdict))))
    return 0


def _replay(args: argparse.Namespace) -> Replay:
    from wsguard.cli._audit_trail import read_line
    from wsguard.cli._input import standard_input
    from wsguard.cli._replay import NoHandshake, replay
    from wsguard.config.store import read

    entry = read_line(standard_input("replace").readline() if args.replay == "-" else args.replay)
    if entry is None:
        raise UsageError("--replay: this is no line of a guard's audit trail")
    try:
        return replay(entry, read([Path(path) for path in args.policy]).policy_set, time.time())
    except NoHandshake as error:
        raise UsageError(f"--replay: {error}") from None


def _url_of(listener: Listener) -> str:
    """Where the guard itself can be reached."""
    from wsguard.policy.model import HostPort

    where = listener.address if isinstance(listener.address, HostPort) else "localhost"
    return f"ws{'s' if listener.tls else ''}://{where}/"


async def _explain(args: argparse.Namespace) -> Explanation:
    import aiohttp

    from wsguard.cli._request import Url, handshake_to, request_to
    from wsguard.cli._walk import Moment, Walk
    from wsguard.config.store import read
    from wsguard.identity.exchange import lines, new_session
    from wsguard.identity.forward_auth import ForwardAuthorizer
    from wsguard.identity.inquiry import Inquiry
    from wsguard.identity.introspection import Introspector
    from wsguard.identity.jwks import JwksCache
    from wsguard.identity.verifier import TokenVerifier
    from wsguard.policy.effective import parse_ip
    from wsguard.sessions.connection import Stream

    peer = parse_ip(args.remote_ip)
    if peer is None:
        raise UsageError(f"--remote-ip must be an IP address, not {args.remote_ip}")
    snapshot = read([Path(path) for path in args.policy])
    try:
        url = Url.parse(args.url or _url_of(snapshot.policy_set.guard.listener))
    except ValueError as error:
        raise UsageError(f"--url {error}") from None
    try:
        stream = Stream(args.stream)
        accept = "text/event-stream" if stream is Stream.SERVER_SENT_EVENTS else None
        if stream is Stream.WEB_SOCKET:
            head = handshake_to(url, _fields(args))
        else:
            head = request_to(url, args.method.upper(), _fields(args), accept)
    except ValueError as error:
        raise UsageError(str(error)) from None
    moment = Moment(time.time())
    async with aiohttp.ClientSession() as session, new_session() as asking:
        jwks = JwksCache(session, moment, lambda _provider, _result: None)
        under = (snapshot.policy_set, snapshot.key_files, lines(asking), moment, lambda: 0, lambda *_: None)
        tokens = TokenVerifier(jwks, snapshot.local_keys, moment)
        inquiry = Inquiry(tokens, Introspector(*under), ForwardAuthorizer(*under))
        walk = Walk(snapshot.policy_set, inquiry, moment.now, token_keys=snapshot.token_keys)
        said = _first_message(args.first_message)
        return (await walk.explain(head, peer, tls=url.tls, first_message=said, stream=stream)).for_terminal


def _fields(args: argparse.Namespace) -> list[tuple[str, str]]:
    given = [_header(text) for text in args.header]
    if args.origin is not None:
        given.append(("Origin", args.origin))
    if cookies := "; ".join(_cookies(args.cookie)):
        given.append(("Cookie", cookies))
    return given


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise UsageError(f"--header must be like 'X-Forwarded-Proto: https', not {name}")
    return name.strip(), value.strip()


def _cookies(words: Iterable[str]) -> Iterator[str]:
    """`N=V` as it stands; `-` is replaced by the lines of standard input, so that no secret is in a command line."""
    from wsguard.cli._input import standard_input

    for word in words:
        if word == "-":
            lines = standard_input("surrogateescape")
            yield from (line.strip().removeprefix("Cookie:").strip() for line in lines if line.strip())
        elif "=" in word:
            yield word
        else:
            raise UsageError("--cookie must be NAME=VALUE, or - for standard input")


def _first_message(word: str | None) -> bytes | None:
    if word == "-":
        return sys.stdin.buffer.read()
    return None if word is None else word.encode("utf-8", "surrogateescape")


def _as_json(explanation: Explanation | Replay) -> str:
    import dataclasses
    import json

    return json.dumps(dataclasses.asdict(explanation), indent=2)


def _steps(steps: Sequence[Step]) -> Iterator[str]:
    width = max(len(step.check) for step in steps)
    for step in steps:
        yield f"{step.check.ljust(width)}  {'ok' if step.passed else 'NO'}  {step.detail}"


def _verdict(explanation: Explanation) -> Iterator[str]:
    refusal, admission = explanation.refusal, explanation.admission
    if refusal is not None:
        what = f"HTTP {refusal.status}" if refusal.code is None else f"{refusal.code}"
        advice = f"; the client should {refusal.advice}" if refusal.advice else ""
        verb = "would be refused, but the policy only audits" if explanation.result == "audited" else "refused"
        yield f"{verb}: {what} {refusal.reason}{advice}"
    if admission is not None:
        yield from _admitted(explanation, admission)
    if (awaited := explanation.awaited) is not None:
        speaking = f"subprotocol {awaited.subprotocol}" if awaited.subprotocol else "no subprotocol"
        yield f"answered, with {speaking}, and judged by the first message, which may take {awaited.timeout:g} s"


_RENEWAL = {
    None: "no newer token prolongs the connection",
    "Explicit": "prolonged by a newer token of the session, shown to /.wsguard/renew",
    "Passive": "prolonged by a newer token of the session, shown to /.wsguard/renew or seen in passing",
}


def _admitted(explanation: Explanation, admission: Admission) -> Iterator[str]:
    who = f"{admission.subject} of {admission.issuer}" if admission.subject else "anonymous"
    yield f"admitted by policy {explanation.policy} as {who}"
    if admission.expires_at is not None:
        end = datetime.fromtimestamp(admission.expires_at, UTC)
        yield f"  the token holds until {end:%Y-%m-%d %H:%M:%S} UTC, clock skew included"
    if admission.asked_again is not None:
        yield f"  asked again about every {admission.asked_again:g} s"
    if admission.expires_at is not None:
        yield f"  {_RENEWAL[admission.renewal]}"
    for source in admission.watched:
        yield f"  ends when the application logs out {source}"
    if admission.held is not None:
        yield f"  {admission.held}"
    for source in admission.erased:
        yield f"  hidden from the backend: {source}"
    for field in admission.added:
        yield f"  added for the backend: {field}"
    if admission.extensions:
        yield f"  {admission.extensions}"
    for limit in admission.counted:
        yield f"  counts against limits.{limit}"
