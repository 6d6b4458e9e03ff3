"""Whatever stands in a file, loading answers: with policies, or with problems that have a place and one line."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from wsguard.policy.load import LoadResult, load
from wsguard.policy.problems import Problem
from wsguard.policy.yaml_source import SourceText

VALID = """\
apiVersion: wsguard.dev/v1
kind: WebSocketPolicy
metadata: {name: chat}
spec:
  match:
    hostnames: [app.example.com]
    paths: [{type: PathPrefix, value: /ws}, {type: RegularExpression, value: "/a.*"}]
  origin:
    allowOrigins: [SameHost, "https://app.example.com", "https://*.example.com", "null"]
    missing: DenyWithCookie
  jwt:
    optional: false
    providers:
    - name: corp
      issuer: https://idp.example.com
      audiences: [chat]
      algorithms: [RS256, ES256]
      remoteJWKS: {uri: https://idp.example.com/jwks, cacheDuration: 5m, failedRefetchDuration: 1s}
      extractFrom:
        cookies: [{name: session, forward: false}]
        headers: [{name: Authorization, valuePrefix: "Bearer "}]
        params: [access_token]
        subprotocols: [{prefix: "bearer.", encoding: Base64URL}]
      claimToHeaders: [{claim: sub, header: X-Wsguard-Subject}]
  authorization:
    rules:
    - name: ops
      action: Allow
      principal: {jwt: {claims: [{name: groups, values: [ops]}], scopes: [chat]}, clientCIDRs: [10.0.0.0/8]}
  session: {maxConnectionDuration: 24h, idleTimeout: 10m, clockSkew: 30s, onReload: Keep}
  rejection: {mode: AcceptThenClose, codes: {session-expired: 4440}, closeTimeout: 2s, maxLingering: 500}
  enforcement: Audit
---
apiVersion: wsguard.dev/v1
kind: GuardConfig
spec:
  listener: {address: "0.0.0.0:8080", allowedHosts: [app.example.com], handshakeTimeout: 10s}
  clientIPDetection: {xForwardedFor: {trustedCIDRs: [10.0.0.0/8]}}
  backends: [{name: app, url: "http://127.0.0.1:3000", connectTimeout: 2s}]
  shutdown: {drainWindow: 20s, closeCode: 1012}
  logging: {level: info, format: json}
"""
WORDS = sorted(set(VALID.replace(":", " ").replace("{", " ").replace("}", " ").replace(",", " ").split()))
HOSTILE = [
    "~",
    "&a",
    "*a",
    "<<: {}",
    "!!int",
    "? ",
    "- ",
    "[[[[",
    "{{{{",
    "\x00",
    "\ud800",
    "\u2028",
    "%",
    "@",
    "1e999",
    "0x1",
]


def hold_the_law(result: LoadResult) -> None:
    assert (result.policy_set is None) == bool(result.errors)
    for problem in result.problems:
        assert isinstance(problem, Problem)
        assert problem.line >= 1
        assert problem.column >= 1
        assert problem.message
        assert "Traceback" not in problem.message
        assert str(problem).isprintable()


def test_the_valid_one_is_valid() -> None:
    assert load([SourceText("p.yaml", VALID)]).errors == ()


@given(st.text() | st.binary())
def test_any_text_and_any_bytes(text: str | bytes) -> None:
    hold_the_law(load([SourceText("p.yaml", text)]))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
        max_leaves=20,
    )
)
def test_any_value_in_place_of_a_spec(value: object) -> None:
    head = "apiVersion: wsguard.dev/v1\nmetadata: {name: a}\n"
    for kind in ("WebSocketPolicy", "GuardConfig"):
        text = f"{head}kind: {kind}\nspec: {json.dumps(value)}\n"
        hold_the_law(load([SourceText("p.yaml", text)]))


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A valid file in which a few pieces were cut out, doubled or replaced."""
    text = VALID
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        piece = draw(st.sampled_from(WORDS + HOSTILE) | st.just(text[start:end] * 2) | st.text(max_size=3))
        text = text[:start] + piece + text[end:]
    return text


@given(mutated())
def test_any_change_to_a_valid_file(text: str) -> None:
    hold_the_law(load([SourceText("p.yaml", text)]))


@given(st.sampled_from(VALID.splitlines()))
def test_any_line_twice(line: str) -> None:
    hold_the_law(load([SourceText("p.yaml", VALID.replace(line, f"{line}\n{line}", 1)), SourceText("q.yaml", VALID)]))
