from __future__ import annotations

import pytest

from tests.policy.texts import PROVIDER, guard, loaded, policy, provider, warnings
from wsguard.policy.problems import Severity

OPAQUE = "name: o, endpoint: 'https://idp/i', clientID: guard, clientSecretFile: s"
ASKED = "forwardAuth: {url: 'http://127.0.0.1:3000/me', headersToExtAuth: [cookie]}"
AGAIN = "session: {revalidateEvery: 5m}"

WATCHED = f"{ASKED}\nsession: {{revalidateEvery: 5m, logoutDetection: {{cookies: [id]"

SOUND = [
    f"{WATCHED}, requests: [{{method: POST, path: /logout}}, {{method: DELETE, path: /session}}]}}}}",
    f"{provider(extractFrom='{cookies: [id]}')}\nsession: {{logoutDetection: {{cookies: [id]}}}}",
    f"introspection: {{providers: [{{{OPAQUE}}}]}}\n{AGAIN}",
    f"{ASKED}\n{AGAIN}",
    provider(extractFrom="{cookies: [s], firstMessage: {jsonPath: payload.token, maxSize: 64Ki}}"),
    provider(extractFrom="{subprotocols: [bearer.]}") + "\nlimits: {subprotocols: [chat, bearer]}",
    f"{ASKED}\nsession: {{revalidateEvery: 5m, revalidateGrace: 0s}}",
    f"introspection: {{providers: [{{{OPAQUE}}}]}}\n{AGAIN}\n"
    "authorization: {rules: [{action: Allow, principal: {jwt: {provider: o}}}]}",
    "",
    "origin: {allowOrigins: [SameHost, 'https://app.example.com', 'https://*.example.com']}",
    "origin: {allowOrigins: ['http://localhost:3000']}",
    "origin: {allowOrigins: ['https://*.example.co.uk']}",
    f"jwt: {{providers: [{PROVIDER}}}]}}",
    provider(localJWKS="", remoteJWKS="{uri: 'http://127.0.0.1:9000/jwks'}"),
    provider(localJWKS="", remoteJWKS="{uri: 'http://localhost/jwks'}"),
    "authorization: {rules: [{action: Allow, principal: {clientCIDRs: [10.0.0.0/8]}}]}",
    "authorization: {defaultAction: Allow, rules: [{action: Deny, principal: {clientCIDRs: [10.0.0.0/8]}}]}",
    "session: {clockSkew: 5m}",
    f"jwt: {{providers: [{PROVIDER}}}]}}\nsession: {{renewal: Passive}}",
    "session: {renewal: Off}",
    "match: {paths: [{type: Exact, value: /.well-known/x}]}",
]


@pytest.mark.parametrize("spec", SOUND)
def test_says_nothing_of_a_sound_policy(spec: str) -> None:
    assert warnings(policy(spec)) == []


DANGEROUS = [
    (
        "limits: {connections: {perClientIP: 5}}",
        "a.yaml:5:39: warning: private and loopback peers are not counted: set clientIPDetection",
    ),
    (
        "limits: {handshakes: {perClientIP: {requests: 5, unit: Second}}}",
        "private and loopback peers are not counted",
    ),
    ("limits: {connections: {total: 5, unauthenticated: 6}}", "never reached: total is 5"),
    (
        "limits: {connections: {total: 5, onExceed: CloseOldest}}",
        "whoever is let in can close the connections of others",
    ),
    ("origin: {allowOrigins: ['*']}", 'a.yaml:5:27: warning: "*": every page in the world may connect'),
    ("origin: {allowOrigins: ['null']}", 'a.yaml:5:27: warning: "null": any page may connect from a sandboxed frame'),
    (
        "origin: {allowOrigins: ['https://a.example', 'http://b.example']}",
        "a.yaml:5:48: warning: an http:// page can be rewritten by whoever is on the way; the others are https://",
    ),
    ("origin: {allowOrigins: ['https://*.com']}", "anyone can get a name under com"),
    ("origin: {allowOrigins: ['https://*.co.uk']}", "anyone can get a name under co.uk"),
    ("origin: {allowOrigins: ['https://*.github.io']}", "anyone can get a name under github.io"),
    ("origin: {missing: Allow}", "a.yaml:5:21: warning: Allow: a handshake without an Origin is let in"),
    (
        f"jwt: {{optional: true, providers: [{PROVIDER}}}]}}",
        "a.yaml:5:19: warning: a handshake without a token is let in",
    ),
    (provider(issuer=""), "a.yaml:5:21: warning: no issuer"),
    (provider(audiences=""), "a.yaml:5:21: warning: no audiences"),
    (provider(localJWKS="", remoteJWKS="{uri: 'http://idp/jwks'}"), "warning: keys are fetched over http"),
    (
        f"jwt: {{providers: [{PROVIDER}}}, {PROVIDER.replace('name: p', 'name: q')}}}]}}",
        'warning: reads the same place for the same issuer as provider "p", which comes first',
    ),
    ("authorization: {defaultAction: Deny}", "a.yaml:5:18: warning: nobody is let in"),
    ("authorization: {rules: [{action: Deny}]}", "a.yaml:5:18: warning: nobody is let in"),
    ("authorization: {defaultAction: Allow}", "a.yaml:5:18: warning: keeps nobody out"),
    (
        "authorization: {rules: [{action: Allow}, {action: Deny, principal: {clientCIDRs: [10.0.0.0/8]}}]}",
        "a.yaml:5:44: warning: never asked: a rule before it is about everyone",
    ),
    (ASKED, "a.yaml:5:16: warning: asked at the door only: without session.revalidateEvery a session that ends keeps"),
    (f"introspection: {{providers: [{{{OPAQUE}}}]}}", "a.yaml:5:18: warning: asked at the door only"),
    (
        f"introspection: {{optional: true, providers: [{{{OPAQUE}}}]}}\n{AGAIN}",
        "a.yaml:5:29: warning: a handshake without a token is let in",
    ),
    (
        f"introspection: {{providers: [{{{OPAQUE.replace('https', 'http')}}}]}}\n{AGAIN}",
        "warning: tokens and the client secret travel over http",
    ),
    (f"{ASKED.replace('127.0.0.1', 'app')}\n{AGAIN}", "a.yaml:5:22: warning: credentials travel over http"),
    (
        f"origin: {{handshakeToken: {{secretFile: k}}}}\njwt: {{providers: [{PROVIDER}}}]}}",
        "a.yaml:5:28: warning: not required: whoever shows no token is let in",
    ),
    (
        f"jwt: {{providers: [{PROVIDER}}}]}}\n"
        "origin: {handshakeToken: {required: true, secretFile: k, maxAge: 1h}}",
        "a.yaml:6:68: warning: very long: a token can be used as often as is wanted",
    ),
    ("session: {clockSkew: 1h}", "a.yaml:5:24: warning: very long"),
    ("session: {logoutDetection: {cookies: [id]}}", "a.yaml:5:41: warning: nobody vouches for this cookie"),
    (
        f"{ASKED.replace('cookie', 'x-session')}\nsession: {{revalidateEvery: 5m, logoutDetection: {{cookies: [id]}}}}",
        "a.yaml:6:62: warning: nobody vouches for this cookie",
    ),
    (
        f"{provider(extractFrom='{cookies: [id]}')}\nsession: {{logoutDetection: {{cookies: [id, other]}}}}",
        "a.yaml:6:45: warning: nobody vouches for this cookie",
    ),
    (
        f"{WATCHED}, requests: [{{method: GET, path: /logout}}]}}}}",
        "a.yaml:6:87: warning: ends nothing: a GET counts by an answer that clears the cookie, listed or not",
    ),
    (
        f"{WATCHED}, requests: [{{method: POST, path: /.wsguard/renew}}]}}}}",
        "a.yaml:6:99: warning: the guard answers this path itself",
    ),
    (
        f"jwt: {{providers: [{PROVIDER}}}]}}\n{ASKED}\nsession: {{revalidateEvery: 5m, renewal: Passive}}",
        "a.yaml:7:43: warning: renewed only by its own handshakes",
    ),
    (
        "migration: {hint: {dialect: mqtt5, grace: 5s}}",
        "a.yaml:5:45: warning: without effect: MQTT 5 has no hint, only a goodbye",
    ),
    ("enforcement: Audit", "a.yaml:5:16: warning: Audit"),
    (
        "match: {paths: [{type: PathPrefix, value: /.wsguard/x}]}",
        "a.yaml:5:45: warning: the guard answers this path itself",
    ),
]


@pytest.mark.parametrize(("spec", "warning"), DANGEROUS)
def test_warns_of_what_is_legal_but_dangerous(spec: str, warning: str) -> None:
    (found,) = warnings(policy(spec))
    assert warning in found
    assert ": warning: " in found


def test_warns_of_a_watch_over_answers_that_do_not_pass() -> None:
    (found,) = warnings(guard("nonWebSocket: Deny"), policy(f"{WATCHED}}}}}"))
    assert "b.yaml:6:51: warning: sees no log-out: nonWebSocket is Deny" in found
    assert warnings(guard("nonWebSocket: Deny"), policy("")) == []


def test_null_with_a_cookie_credential_says_whose_cookie() -> None:
    found = warnings(policy(f"origin: {{allowOrigins: ['null']}}\n{provider(extractFrom='{cookies: [s]}')}"))
    assert found == [
        'a.yaml:5:27: warning: "null": any page may connect from a sandboxed frame, with its visitor\'s cookie'
    ]


def test_any_origin_is_refused_only_with_a_cookie_credential() -> None:
    result = loaded(policy(f"origin: {{allowOrigins: ['*']}}\n{provider(extractFrom='{headers: [Authorization]}')}"))
    assert [problem.severity for problem in result.problems] == [Severity.WARNING]


def test_any_origin_may_have_a_cookie_credential_where_a_handshake_token_is_required() -> None:
    origin = "origin: {{allowOrigins: ['*'], handshakeToken: {{required: {required}, secretFile: k}}}}\n"
    cookie = provider(extractFrom="{cookies: [s]}")
    assert warnings(policy(origin.format(required="true") + cookie)) == []
    result = loaded(policy(origin.format(required="false") + cookie))
    assert any("list the origins, or let handshakeToken be required" in str(each) for each in result.errors)


GUARDS = [
    ("listener: {allowedHosts: ['*']}", 'a.yaml:4:29: warning: "*" switches the Host check off'),
    ("admin: {allowedHosts: [a, '*']}", 'a.yaml:4:29: warning: "*" switches the Host check off'),
    (
        "clientIPDetection: {xForwardedFor: {trustedCIDRs: [10.0.0.0/8, '::/0']}}",
        "a.yaml:4:66: warning: ::/0: everyone is trusted to say which address he comes from",
    ),
    (
        "backends: [{name: blue, url: 'http://a:1'}, {name: green, url: 'ws://A:1/'}]",
        "a.yaml:4:66: warning: another backend has the same address: to move there moves nobody",
    ),
]


@pytest.mark.parametrize(("spec", "warning"), GUARDS)
def test_warns_of_a_dangerous_guard_config(spec: str, warning: str) -> None:
    (found,) = warnings(guard(spec), policy(""))
    assert warning in found


@pytest.mark.parametrize(
    ("grace", "shutdown", "place"),
    [("15s", "{drainWindow: 20s}", "a.yaml:4:27"), ("15s", "{closeCode: 1012}", "a.yaml:4:13"), ("10s", "{}", None)],
)
def test_warns_of_a_grace_that_the_window_has_no_room_for(grace: str, shutdown: str, place: str | None) -> None:
    found = warnings(
        guard(f"shutdown: {shutdown}"), policy(f"migration: {{hint: {{dialect: custom, grace: {grace}}}}}")
    )
    message = 'policy "p" gives its clients 15s after a hint: in a drain over 20s it is 10s'
    assert found == ([f"{place}: warning: {message}"] if place else [])


@pytest.mark.parametrize(
    ("listener", "match", "warns"),
    [
        ("address: '0.0.0.0:80'", "", True),
        ("address: '0.0.0.0:80'", "match: {hostnames: [a.example]}", False),
        ("address: '0.0.0.0:80', allowedHosts: [a.example]", "", False),
        ("address: '127.0.0.1:80'", "", False),
    ],
)
def test_warns_where_any_host_is_answered(listener: str, match: str, warns: bool) -> None:
    found = warnings(guard(f"listener: {{{listener}}}"), policy(match))
    assert ["any Host is answered on 0.0.0.0:80" in each for each in found] == [True] * warns


@pytest.mark.parametrize(
    ("pattern", "host", "warns"),
    [
        ("/.*", "", True),
        (".*", "", True),
        ("/.*", "hostnames: [a.example], ", True),
        ("/ws/.*", "", False),
        ("/[a-z]*", "", False),
    ],
)
def test_warns_of_a_prefix_that_an_expression_shadows(pattern: str, host: str, warns: bool) -> None:
    taker = policy(f"match: {{{host}paths: [{{type: RegularExpression, value: '{pattern}'}}]}}", "taker")
    shadowed = policy(
        f"match: {{{host}paths: [{{type: Exact, value: /a}}, {{type: PathPrefix, value: /ws}}]}}", "shadowed"
    )
    found = warnings(taker, shadowed)
    assert [each.startswith("b.yaml") and 'of "taker" takes every path' in each for each in found] == [True] * warns


def test_an_expression_on_another_host_shadows_nothing() -> None:
    taker = policy("match: {hostnames: [a.example], paths: [{type: RegularExpression, value: /.*}]}", "taker")
    assert warnings(taker, policy("match: {hostnames: [b.example]}", "other")) == []


@pytest.mark.parametrize(
    ("listener", "hops", "warns"),
    [
        ("address: 'unix:/run/a'", "trustedCIDRs: [10.0.0.0/8]", True),
        ("address: 'unix:/run/a', proxyProtocol: true", "trustedCIDRs: [10.0.0.0/8]", False),
        ("address: 'unix:/run/a'", "numTrustedHops: 1", False),
        ("address: '127.0.0.1:1'", "trustedCIDRs: [10.0.0.0/8]", False),
    ],
)
def test_warns_where_nobody_can_be_trusted(listener: str, hops: str, warns: bool) -> None:
    spec = f"{{listener: {{{listener}, allowedHosts: [a]}}, clientIPDetection: {{xForwardedFor: {{{hops}}}}}}}"
    assert any("trusts nobody" in each for each in warnings(guard(spec), policy(""))) is warns


@pytest.mark.parametrize(("origins", "warns"), [("['*']", True), ("[SameHost]", False)])
@pytest.mark.parametrize("asked", [True, False])
def test_warns_of_any_page_with_a_browsers_certificate(origins: str, warns: bool, asked: bool) -> None:
    validation = ", clientValidation: {caFile: c}" if asked else ""
    listener = f"{{allowedHosts: [a], tls: {{certFile: a, keyFile: b{validation}}}}}"
    found = warnings(guard(f"{{listener: {listener}}}"), policy(spec=f"{{origin: {{allowOrigins: {origins}}}}}"))
    assert any("any page speaks as its user" in each for each in found) is (warns and asked)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("maxMemory: 64Mi", ["less than 96Mi"]),
        ("maxLoopLag: 20ms", ["less than 50ms"]),
        ("maxMemory: 96Mi, maxLoopLag: 50ms, maxConnections: 1", []),
    ],
)
def test_limits_that_are_reached_with_nothing_to_do(spec: str, said: list[str]) -> None:
    found = warnings(policy(""), guard(f"overload: {{{spec}}}"))
    assert len(found) == len(said)
    assert all(words in line for words, line in zip(said, found, strict=True))


def test_everyone_is_trusted_in_forwarded() -> None:
    (line,) = warnings(policy(""), guard("clientIPDetection: {forwarded: {trustedCIDRs: ['0.0.0.0/0']}}"))
    assert "0.0.0.0/0: everyone is trusted" in line


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("keepAlive: {}", None),
        ("keepAlive: {clientPingInterval: 30s, timeout: 20s}", None),
        ("keepAlive: {clientPingInterval: 0s, timeout: 20s}", "a.yaml:6:14: warning: pings nobody"),
        ("keepAlive: {backendPingInterval: 500ms}", "a.yaml:6:36: warning: very often"),
        ("keepAlive: {clientPingInterval: 30s, timeout: 1s}", "a.yaml:6:49: warning: very short"),
    ],
)
def test_pings_that_are_never_sent_or_without_end(spec: str, expected: str | None) -> None:
    found = warnings(policy(f"match: {{hostnames: [a.test]}}\n{spec}"))
    assert [line[: len(expected or "")] for line in found] == ([expected] if expected else []), found
