"""Judges a POST to one of the guard's own paths as the handshake to its `?path=` would be judged.

The same tables of checks, by the same facts, under the same deadline; stricter in three things: there must be an
Origin, there must be a credential, and a policy that only audits lets nobody through. Handshake tokens are not asked
for: this is where they come from. The answers are for scripts of the page itself: problems are RFC 9457's, nothing is
to be kept, and no other origin may read any of it (no CORS, and not into its process either).
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web

from wsguard.policy.case import Case, Check
from wsguard.policy.credentials import read_credentials
from wsguard.policy.decision import Admit, Decision, Refuse
from wsguard.policy.effective import Effective, written_ip
from wsguard.policy.forward_auth import Approval
from wsguard.policy.judge import PLACE, judge, judge_early
from wsguard.policy.model import Rejection, WebSocketPolicy
from wsguard.protocol.closing import http_status
from wsguard.protocol.handshake import HttpRefusal
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.stand_in import stand_in
from wsguard.proxy import gathering
from wsguard.proxy.environment import Environment
from wsguard.proxy.refusal import SERVER
from wsguard.proxy.router import read_head
from wsguard.proxy.wording import word

MAX_BODY = 16 * 1024
"""Bytes of a body: a token, and some to spare."""

_DEFAULT = Rejection()


@dataclass(frozen=True, slots=True)
class Judged:
    """A request whose handshake would be admitted. `case` is what that rests on; `policy` is its policy."""

    case: Case
    policy: WebSocketPolicy
    admit: Admit


async def judge_request(
    env: Environment,
    request: web.BaseRequest,
    effective: Effective,
    checks: Sequence[tuple[str, Check]] | None = None,
) -> Judged | web.Response:
    """The verdict of `checks` (None: LATE) on `request`, or the answer that tells of its refusal.

    The observer knows of it then.
    """
    policies = env.policies()
    end = env.loop.time() + policies.guard.listener.handshake_timeout
    body = await _read_body(request, end)
    handshake = body if isinstance(body, HttpRefusal) else stand_in(read_head(request), body)
    if isinstance(handshake, HttpRefusal):
        return turned_away(env, effective, handshake)
    policy = policies.find(effective.authority, handshake.path)
    case = Case(handshake, effective, policy, policies, env.clock.wall(), env.deny_list)
    if policy is not None:
        case.stream = policy.spec.streams[0]  # whichever it is for, it is for its path
    decision = await _decide(env, case, checks, end)
    if isinstance(decision, Refuse):
        return refused(env, case, decision)
    assert policy is not None  # check_policy passed
    return Judged(case, policy, decision)


def answer(body: Mapping[str, object], status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """What was asked for, as JSON."""
    return _response(status, body, "application/json")


def problem(status: int, detail: str) -> web.Response:
    """Why nothing was done: a sentence for whoever writes the page (RFC 9457 §4.2.1: the title is the phrase)."""
    body = {"title": HTTPStatus(status).phrase, "status": int(status), "detail": detail}
    return _response(status, body, "application/problem+json")


def refused(env: Environment, case: Case, refusal: Refuse) -> web.Response:
    """The answer to a request whose handshake would be refused; its `reason` is what a Close would have said."""
    rejection = case.policy.spec.rejection if case.policy else _DEFAULT
    close = word(refusal.reason, rejection, case.policies.guard, env.rng, population=len(env.registry))
    reason, mark, seconds = close.text.partition(" retry-after=")
    status = http_status(refusal.reason)
    _tell(env, case.effective, status, f"{refusal.reason.token}: {refusal.detail}")
    body = {"title": HTTPStatus(status).phrase, "status": status, "reason": reason}
    response = _response(status, body, "application/problem+json")
    if mark:
        response.headers["Retry-After"] = str(math.ceil(float(seconds)))  # RFC 9110 §10.2.3: whole seconds
    return response


async def _read_body(request: web.BaseRequest, end: float) -> bytes | HttpRefusal:
    """The body of a POST, by `end` on the loop's clock."""
    if request.method != "POST":
        return HttpRefusal(HTTPStatus.METHOD_NOT_ALLOWED, "only POST is answered here", (("Allow", "POST"),))
    body = bytearray()
    try:
        async with asyncio.timeout_at(end):
            async for chunk in request.content.iter_chunked(MAX_BODY):
                body += chunk
                if len(body) > MAX_BODY:
                    return HttpRefusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body of more than {MAX_BODY} bytes")
    except TimeoutError:
        return HttpRefusal(HTTPStatus.REQUEST_TIMEOUT, "the body did not come in time")
    if body and request.content_type != "application/json":
        return HttpRefusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a body is application/json here")
    return bytes(body)


async def _decide(env: Environment, case: Case, checks: Sequence[tuple[str, Check]] | None, end: float) -> Decision:
    """The verdict; whatever goes wrong on the way to it is a refusal."""
    try:
        if case.handshake.origin is None:
            return Refuse(CloseReason.ORIGIN_DENIED, "no Origin, as every page of a browser sends one")
        refusal = judge_early(case, PLACE)
        if refusal is not None or case.policy is None:
            return refusal or Refuse(CloseReason.NO_POLICY, "no policy matches")
        case.credentials = read_credentials(case.handshake, case.policy)
        await _gather(env, case, case.policy, end)
        decision = judge(case, checks)
        if isinstance(decision, Admit) and not _shows_credential(case):
            return Refuse(CloseReason.CREDENTIAL_MISSING, "no credential, and here the policy cannot allow that")
        return decision
    except TimeoutError:
        return Refuse(CloseReason.IDENTITY_UNAVAILABLE, "the facts about the credential did not come in time")
    except Exception as error:  # a bug must not become an admission (nor end the guard)
        env.observer.fault("judging a request to the guard itself", error)
        return Refuse(CloseReason.GUARD_FAULT, f"a fault of the guard: {type(error).__name__}")


async def _gather(env: Environment, case: Case, policy: WebSocketPolicy, end: float) -> None:
    if not gathering.recall(case, policy, env.verifier, env.approver):
        async with asyncio.timeout_at(end):
            await gathering.ask(case, policy, env.verifier, env.approver)
        case.now = env.clock.wall()


def _shows_credential(case: Case) -> bool:
    """Whether an admitted `case` rests on anything that its client has shown."""
    if case.facts:
        return True
    return isinstance(case.approval, Approval) and case.question is not None and not case.question.is_bare


def turned_away(env: Environment, effective: Effective, refusal: HttpRefusal) -> web.Response:
    """The answer to a request that is not judged; the observer knows of it."""
    _tell(env, effective, refusal.status, refusal.why)
    response = problem(refusal.status, refusal.why)
    response.headers.update(refusal.headers)
    response.force_close()  # of its body not everything may have been read
    return response


def _tell(env: Environment, effective: Effective, status: int, detail: str) -> None:
    env.observer.turned_away(written_ip(effective.client_ip), status, detail)


def _response(status: int, body: Mapping[str, object], content_type: str) -> web.Response:
    headers = {"Server": SERVER, "Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin"}
    return web.Response(status=status, body=json.dumps(body).encode(), content_type=content_type, headers=headers)
