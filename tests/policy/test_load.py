from __future__ import annotations

import pytest

from tests.policy.texts import PROVIDER, errors, guard, loaded, policy
from wsguard.policy.load import load
from wsguard.policy.model import DEFAULT_POLICY
from wsguard.policy.overrides import Overrides
from wsguard.policy.problems import Severity
from wsguard.policy.yaml_source import SourceText


def test_reads_a_whole_policy() -> None:
    text = """
match: {hostnames: [App.Example.com], paths: [{type: PathPrefix, value: /ws}]}
origin: {allowOrigins: [SameHost, "https://*.example.com"], missing: Deny}
jwt:
  providers:
  - name: corp
    issuer: https://idp.example.com
    audiences: [chat]
    algorithms: [RS256, ES256]
    remoteJWKS: {uri: https://idp.example.com/jwks, cacheDuration: 10m}
    extractFrom: {cookies: [session], headers: [{name: Authorization, valuePrefix: "Bearer "}], subprotocols: [bearer.]}
    claimToHeaders: [{claim: sub, header: X-Wsguard-Subject}]
authorization:
  rules:
  - {name: ops, action: Allow, principal: {jwt: {claims: [{name: g, values: [o]}]}, clientCIDRs: [10.0.0.0/8]}}
session: {maxConnectionDuration: 8h, idleTimeout: 10m, clockSkew: 5s, onReload: Keep}
framing: Strict
rejection: {mode: HTTPStatus, codes: {session-expired: 4999}, profile: graphql-ws}
"""
    result = loaded(policy(text, "chat"))
    assert result.problems == ()
    assert result.policy_set is not None
    (chat,) = result.policy_set.policies
    assert chat.name == "chat"
    assert str(chat.spec.match.hostnames[0]) == "app.example.com"
    assert chat.spec.jwt is not None
    provider = chat.spec.jwt.providers[0]
    assert provider.remote_jwks is not None
    assert provider.remote_jwks.cache_duration == 600
    assert [cookie.name for cookie in provider.extract_from.cookies] == ["session"]
    assert provider.extract_from.subprotocols[0].prefix == "bearer."
    assert chat.spec.session.max_connection_duration == 8 * 3600
    assert str(result.policy_set.places["chat"]) == "a.yaml:1:1"


def test_reads_several_files_and_documents_as_one() -> None:
    one, two = policy("match: {hostnames: [a.example]}", "one"), policy("match: {hostnames: [b.example]}", "two")
    result = loaded(f"{one}---\n{two}---\n", guard("backends: [{name: app, url: 'http://127.0.0.1:3000'}]"))
    assert result.policy_set is not None
    assert [each.name for each in result.policy_set.policies] == ["one", "two"]
    assert result.policy_set.guard.backends[0].name == "app"


def test_without_any_source_the_built_in_policy_holds() -> None:
    result = load(())
    assert result.problems == ()
    assert result.policy_set is not None
    assert result.policy_set.policies == (DEFAULT_POLICY,)
    assert result.policy_set.places == {}


def test_files_without_a_policy_refuse_everyone_and_say_so() -> None:
    result = loaded(guard(""))
    assert result.policy_set is not None
    assert result.policy_set.policies == ()
    assert [str(each) for each in result.problems] == [
        "a.yaml:1:1: warning: there is no WebSocketPolicy: every handshake is refused with no-policy"
    ]
    assert errors("", "# nothing") == ["a.yaml:1:1: error: there is no document here"]


SPEC_ERRORS = [
    # What is no key, or no key yet.
    ("orign: {}", 'a.yaml:5:3: error: unknown key "orign"; did you mean origin?'),
    ("origin:\n  alowOrigins: []", 'a.yaml:6:5: error: unknown key "alowOrigins"; did you mean allowOrigins?'),
    ("match: {path: []}", 'a.yaml:5:11: error: unknown key "path"; did you mean paths?'),
    ("session: {zzz: 1}", 'a.yaml:5:13: error: unknown key "zzz"; known here: maxConnectionDuration, idleTimeout'),
    ("allow_origins: []", 'a.yaml:5:3: error: unknown key "allow_origins"'),
    ("session: {on_reload: Keep}", 'a.yaml:5:13: error: unknown key "on_reload"; did you mean onReload?'),
    ("match: {paths: []}\nmatch: {}", 'a.yaml:6:3: error: duplicate key "match", first given on line 5'),
    # Wrong types.
    ("match: []", "a.yaml:5:10: error: expected a mapping, found a list"),
    ("match: {paths: /ws}", 'a.yaml:5:18: error: expected a list, found "/ws"'),
    ("match: {paths: {a: b}}", "a.yaml:5:18: error: expected a list, found a mapping"),
    ("match: {paths: []}", "a.yaml:5:18: error: expected at least one item, found an empty list"),
    ("match: {paths: [{type: Exact}]}", 'a.yaml:5:19: error: "value" is missing'),
    ("match: {paths: [{type: Exact, value: 3}]}", "a.yaml:5:40: error: expected text, found the number 3"),
    ("match: {hostnames: [1]}", "a.yaml:5:23: error: expected a host such as app.example.com, found the number 1"),
    ("origin: {missing: {}}", "a.yaml:5:21: error: expected Deny or DenyWithCookie or Allow, found a mapping"),
    ("jwt: {optional: yes, providers: []}", 'a.yaml:5:19: error: expected true or false, found "yes"'),
    ("rejection: {maxLingering: many}", 'a.yaml:5:29: error: expected a whole number, found "many"'),
    ("rejection: {maxLingering: 1.5}", "a.yaml:5:29: error: expected a whole number, found the number 1.5"),
    ("rejection: {maxLingering: true}", "a.yaml:5:29: error: expected a whole number, found true"),
    ("rejection: {maxLingering: -1}", "a.yaml:5:29: error: expected a number of at least 0, found the number -1"),
    ("rejection: {codes: []}", "a.yaml:5:22: error: expected a mapping, found a list"),
    ("jwt:", 'a.yaml:5:7: error: "jwt" has no value: give it one or leave the key out'),
    (f"match: {{hostnames: [{'a.example, ' * 101}]}}", "a.yaml:5:22: error: expected at most 100 items, found more"),
    # Words and values.
    ("enforcement: audit", 'a.yaml:5:16: error: expected Enforce or Audit, found "audit"; did you mean Audit?'),
    ("framing: Loose", 'a.yaml:5:12: error: expected Strict or Transparent, found "Loose"'),
    ("session: {clockSkew: 30}", "a.yaml:5:24: error: expected a duration such as 500ms, 30s, 5m or 8h, found the"),
    ("session: {idleTimeout: 0s}", "a.yaml:5:26: error: expected a duration longer than 0s"),
    ("session: {idleTimeout: 1:30}", 'a.yaml:5:26: error: expected a duration such as 500ms, 30s, 5m or 8h, found "1:'),
    ("match: {paths: [{type: Exact, value: ws}]}", 'a.yaml:5:40: error: expected a path that starts with "/"'),
    ("match: {paths: [{type: Exact, value: /a%20b}]}", 'a.yaml:5:40: error: "/a%20b" matches nothing'),
    ("match: {paths: [{type: PathPrefix, value: /a/../b}]}", 'a.yaml:5:45: error: "/a/../b" matches nothing'),
    ("match: {paths: [{type: PathPrefix, value: /a//b}]}", 'a.yaml:5:45: error: "/a//b" matches nothing'),
    ("match: {paths: [{type: Exact, value: '/a?b=c'}]}", 'a.yaml:5:40: error: "/a?b=c" matches nothing'),
    ("match: {paths: [{type: RegularExpression, value: '/(a'}]}", 'a.yaml:5:52: error: "/(a" is no RE2 regular exp'),
    ("match: {paths: [{type: RegularExpression, value: '(?=a)'}]}", 'a.yaml:5:52: error: "(?=a)" is no RE2 regular'),
    ("origin: {allowOrigins: [app.example.com]}", "a.yaml:5:27: error: 'app.example.com' has no scheme"),
    (
        "origin: {allowOrigins: [SameHost, 'https://a.example/x']}",
        "a.yaml:5:37: error: 'https://a.example/x' is not an",
    ),
    ("rejection: {codes: {session-expird: 4440}}", 'a.yaml:5:23: error: "session-expird" is no close reason; did you'),
    ("rejection: {codes: {client-lost: 4000}}", "a.yaml:5:23: error: client-lost is recorded and never sent"),
    ("rejection: {codes: {draining: 1006}}", "a.yaml:5:33: error: expected a close code that may be sent"),
    # Tokens.
    ("jwt: {}", 'a.yaml:5:8: error: "providers" is missing'),
    ("jwt: {providers: [{name: p}]}", 'a.yaml:5:21: error: "algorithms" is missing'),
    (f"jwt: {{providers: [{PROVIDER}}}, {PROVIDER}}}]}}", 'a.yaml:5:20: error: 2 providers have the name "p"'),
    ("jwt: {providers: [{name: p, algorithms: [none], localJWKS: {file: k}}]}", 'error: "none" is refused'),
    ("jwt: {providers: [{name: p, algorithms: [RS25], localJWKS: {file: k}}]}", "did you mean RS256?"),
    (
        "jwt: {providers: [{name: p, algorithms: [HS256, RS256], localJWKS: {file: k}}]}",
        "a.yaml:5:43: error: HS* and public-key algorithms do not mix",
    ),
    (
        "jwt: {providers: [{name: p, algorithms: [HS256], localJWKS: {file: k}}]}",
        "a.yaml:5:21: error: HS* algorithms need localSecretFile, and localSecretFile is for HS* algorithms only",
    ),
    (
        "jwt: {providers: [{name: p, algorithms: [RS256], localSecretFile: k}]}",
        "a.yaml:5:69: error: HS* algorithms need localSecretFile, and localSecretFile is for HS* algorithms only",
    ),
    (
        "jwt: {providers: [{name: p, algorithms: [RS256]}]}",
        "a.yaml:5:21: error: expected exactly one of remoteJWKS, localJWKS and localSecretFile, found none",
    ),
    (
        "jwt: {providers: [{name: p, algorithms: [RS256], localJWKS: {file: k}, remoteJWKS: {uri: 'https://i'}}]}",
        "a.yaml:5:21: error: expected exactly one of remoteJWKS, localJWKS and localSecretFile, found remoteJWKS and",
    ),
    (
        f"jwt: {{providers: [{PROVIDER}, extractFrom: {{}}}}]}}",
        "error: expected at least one of cookies, headers, params",
    ),
    (f"jwt: {{providers: [{PROVIDER}, extractFrom: {{cookies: [s, s]}}}}]}}", 'error: 2 cookies have the name "s"'),
    (
        f"jwt: {{providers: [{PROVIDER}, extractFrom: {{cookies: ['a b']}}}}]}}",
        'expected the name of a cookie, found "a b"',
    ),
    (
        f"jwt: {{providers: [{PROVIDER}, extractFrom: {{headers: [Cookie]}}}}]}}",
        'the header "Cookie" belongs to the protocol',
    ),
    (
        f"jwt: {{providers: [{PROVIDER}, claimToHeaders: [{{claim: sub, header: Sec-WebSocket-Key}}]}}]}}",
        'the header "Sec-WebSocket-Key" belongs to the protocol',
    ),
    (
        f"jwt: {{providers: [{PROVIDER}, claimToHeaders: "
        "[{claim: a, header: X-A_B}, {claim: b, header: x_a-b}]}]}",
        '2 claims\' headers have the name "x-a-b"',
    ),
    # Rules.
    ("authorization: {}", "a.yaml:5:18: error: expected rules, defaultAction or both"),
    (
        "authorization: {rules: [{action: Allow, principal: {}}]}",
        "a.yaml:5:54: error: expected jwt, clientCIDRs or both",
    ),
    (
        "authorization: {rules: [{action: Allow, principal: {jwt: {}}}]}",
        "a.yaml:5:60: error: matches nobody: the policy has neither jwt nor introspection",
    ),
    (
        f"jwt: {{providers: [{PROVIDER}}}]}}\n"
        "authorization: {rules: [{action: Allow, principal: {jwt: {provider: q}}}]}",
        'a.yaml:6:71: error: no provider has the name "q"; known here: p',
    ),
    (
        "authorization: {rules: [{action: Allow, principal: {clientCIDRs: [10.0.0.1/8]}}]}",
        'a.yaml:5:69: error: expected a network, found "10.0.0.1/8", which has host bits set; did you mean 10.0.0.0/8?',
    ),
    (
        f"origin: {{allowOrigins: ['*']}}\njwt: {{providers: [{PROVIDER}, extractFrom: {{cookies: [s]}}}}]}}",
        'a.yaml:5:27: error: "*" with a cookie credential: every page in the world could connect',
    ),
]


OPAQUE = "name: o, endpoint: 'https://idp/i', clientID: guard, clientSecretFile: s"
TOKENS = "origin: {handshakeToken: {secretFile: k}}"
ASKED = "url: 'http://127.0.0.1:3000/me', headersToExtAuth: [cookie]"
SPEC_ERRORS += [
    ("introspection: {providers: []}", "expected at least one item"),
    (f"introspection: {{providers: [{{{OPAQUE}}}, {{{OPAQUE}}}]}}", '2 providers have the name "o"'),
    (f"introspection: {{providers: [{{{OPAQUE}, extractFrom: {{}}}}]}}", "expected at least one of cookies"),
    ("introspection: {providers: [{name: o, endpoint: 'ftp://idp', clientID: g, clientSecretFile: s}]}", "http://"),
    (
        f"jwt: {{providers: [{PROVIDER}}}]}}\n"
        f"introspection: {{providers: [{{{OPAQUE.replace('name: o', 'name: p')}}}]}}",
        'a jwt provider has the name "p" too',
    ),
    ("forwardAuth: {url: 'http://127.0.0.1:3000/me'}", '"headersToExtAuth" is missing'),
    ("forwardAuth: {url: 'http://127.0.0.1:3000/me', headersToExtAuth: []}", "expected at least one item"),
    (f"forwardAuth: {{{ASKED.replace('cookie', 'host')}}}", 'the header "host" belongs to the protocol'),
    (f"forwardAuth: {{{ASKED.replace('cookie', 'X_Forwarded_Uri')}}}", 'the header "X_Forwarded_Uri" belongs to'),
    (f"forwardAuth: {{{ASKED.replace('cookie', 'X-A, x_a')}}}", '2 header fields have the name "x-a"'),
    (f"forwardAuth: {{{ASKED}, headersToBackend: [cookie]}}", 'the header "cookie" belongs to the protocol'),
    (f"forwardAuth: {{{ASKED}, maxConcurrent: 0}}", "expected a number of at least 1"),
    (f"forwardAuth: {{{ASKED}, subjectFrom: {{}}}}", '"jsonPath" is missing'),
    (f"forwardAuth: {{{ASKED}}}\norigin: {{allowOrigins: ['*']}}", "every page in the world could connect"),
    (
        f"introspection: {{providers: [{{{OPAQUE}, claimToHeaders: [{{claim: sub, header: X-User}}]}}]}}\n"
        f"forwardAuth: {{{ASKED}, headersToBackend: [x_user]}}",
        '"x_user" is set by a claimToHeaders too',
    ),
    ("origin: {handshakeToken: {required: true}}", 'a.yaml:5:28: error: "secretFile" is missing'),
    ("origin: {handshakeToken: {secretFile: k, maxAge: 0s}}", "a.yaml:5:52: error: expected a duration longer than 0s"),
    (
        "origin: {handshakeToken: {secretFile: k}}",
        "a.yaml:5:28: error: nobody can get a token: it is bound to a credential, and the policy looks for none",
    ),
    (
        f"{TOKENS}\njwt: {{providers: [{PROVIDER}, extractFrom: {{params: [a, wsguard.token]}}}}]}}",
        "error: wsguard_token is the parameter of handshake tokens",
    ),
    (
        f"{TOKENS}\njwt: {{providers: [{PROVIDER}, extractFrom: {{subprotocols: [{{prefix: WSGuard.}}]}}}}]}}",
        "error: wsguard.token. begins handshake tokens",
    ),
    (
        f"{TOKENS}\nintrospection: {{providers: [{{{OPAQUE}, extractFrom: {{params: [wsguard_token]}}}}]}}",
        "error: wsguard_token is the parameter of handshake tokens",
    ),
    ("session: {expiryHint: {message: renew}}", "never sent: the policy has neither jwt nor introspection"),
    ("session: {expiryHint: {message: ''}}", "expected 1 to 4096 bytes of text, found 0"),
    ("session: {renewal: Passive}", "renews nothing: the policy has neither jwt nor introspection"),
    ("session: {revalidateEvery: 5m}", "asks nobody: the policy has neither introspection nor forwardAuth"),
    ("session: {logoutDetection: {}}", 'a.yaml:5:30: error: "cookies" is missing'),
    ("session: {logoutDetection: {cookies: []}}", "a.yaml:5:40: error: expected at least one item"),
    ("session: {logoutDetection: {cookies: ['a b']}}", "expected the name of a cookie, found"),
    ("session: {logoutDetection: {cookies: [a, b, a]}}", '2 cookies have the name "a"'),
    ("session: {logoutDetection: {cookies: [a], requests: []}}", "expected at least one item"),
    (
        "session: {logoutDetection: {cookies: [a], requests: [{method: post, path: /x}]}}",
        'a.yaml:5:65: error: "post" is sent by nobody: a method is compared with case, POST',
    ),
    (
        "session: {logoutDetection: {cookies: [a], requests: [{method: POST, path: x}]}}",
        'a.yaml:5:77: error: expected a path that starts with "/"',
    ),
    ("session: {logoutDetection: {cookies: [a], requests: [{method: POST, path: /a//b}]}}", "matches nothing"),
    ("session: {logoutDetection: {cookies: [a], requests: [{method: POST}]}}", '"path" is missing'),
    ("migration: {}", 'a.yaml:5:14: error: "hint" is missing'),
    ("migration: {hint: {}}", '"dialect" is missing'),
    (
        "migration: {hint: {dialect: stomp}}",
        'a.yaml:5:31: error: expected custom or socket.io or signalr or graphql-ws or mqtt5 or phoenix, found "stomp"',
    ),
    ("migration: {hint: {dialect: custom, message: ''}}", "expected 1 to 4096 bytes of text, found 0"),
    ("migration: {hint: {dialect: custom, grace: 0s}}", "expected a duration longer than 0s"),
    (
        "migration: {hint: {dialect: phoenix, message: go}}",
        "a.yaml:5:49: error: phoenix has words of its own: a message goes with the dialect custom",
    ),
    ("session: {revalidateGrace: 5m}", "bounds nothing: there is no revalidateEvery"),
]


def _first(message: str, more: str = "", name: str = "p") -> str:
    """A `jwt` with one provider that reads the first message."""
    sound = PROVIDER.replace("name: p", f"name: {name}", 1)
    return f"jwt: {{{more}providers: [{sound}, extractFrom: {{firstMessage: {{{message}}}}}}}]}}"


SPEC_ERRORS += [
    (_first("timeout: 5s"), '"jsonPath" is missing'),
    (_first("jsonPath: ''"), "expected text without control characters"),
    (_first("jsonPath: payload..token"), "expected keys with dots between them, such as payload.token, found"),
    (_first("jsonPath: .token"), "expected keys with dots between them"),
    (_first("jsonPath: token, timeout: 0s"), "expected a duration longer than 0s"),
    (_first("jsonPath: token, maxSize: 65Ki"), "expected a size from 1Ki to 64Ki"),
    (_first("jsonPath: token, maxSize: 0Ki"), "expected a size from 1Ki to 64Ki"),
    (_first("jsonPath: token, maxSize: 8192"), "expected a size such as 8Ki or 1Mi, found the number 8192"),
    (_first("jsonPath: token, maxSize: 8KB"), 'expected a size such as 8Ki or 1Mi, found "8KB"'),
    (_first("jsonPath: token, size: 8Ki"), 'unknown key "size"; did you mean maxSize?'),
    (_first("jsonPath: token", "optional: true, "), "error: does not go with optional"),
    (
        "origin: {handshakeToken: {required: true, secretFile: k}}\n" + _first("jsonPath: token"),
        "error: never awaited: handshakeToken is required",
    ),
    (
        f"introspection: {{optional: true, providers: [{{{OPAQUE}, "
        "extractFrom: {firstMessage: {jsonPath: token}}}]}",
        "error: does not go with optional",
    ),
    (
        f"{_first('jsonPath: token')}\nintrospection: {{providers: [{{{OPAQUE}, "
        "extractFrom: {firstMessage: {jsonPath: token, timeout: 6s}}}]}",
        "a.yaml:6:134: error: expected the timeout and maxSize of the policy's other firstMessage",
    ),
    ("limits: {subprotocols: []}", "expected at least one item"),
    ("limits: {connections: {}}", "expected at least one of total, perSubject"),
    ("limits: {connections: {total: 0}}", "expected a number of at least 1"),
    ("limits: {connections: {perSubject: 1}}", "counts nobody: the policy has neither jwt nor introspection"),
    ("limits: {compression: Deny, extensions: [permessage-deflate]}", "is listed, and compression is Deny"),
    ("limits: {compression: Deny, compressionWindowBits: 10}", "without effect: permessage-deflate is never"),
    ("limits: {compressionWindowBits: 8}", "expected a number of at least 9"),
    ("limits: {extensions: [a, a]}", '2 extensions have the name "a"'),
    ("limits: {subprotocols: [a, b, a]}", '2 subprotocols have the name "a"'),
    ("limits: {subprotocols: ['a b']}", 'expected the name of a subprotocol, found "a b"'),
    ("limits: {subprotocol: [a]}", 'unknown key "subprotocol"; did you mean subprotocols?'),
    (
        f"jwt: {{providers: [{PROVIDER}, extractFrom: {{subprotocols: [bearer.]}}}}]}}\n"
        "limits: {subprotocols: [chat, Bearer.x]}",
        'a.yaml:6:33: error: "Bearer.x" is taken for a credential',
    ),
]


@pytest.mark.parametrize(("spec", "error"), SPEC_ERRORS)
def test_says_what_is_wrong_with_a_policy_and_where(spec: str, error: str) -> None:
    result = loaded(policy(spec))
    assert result.policy_set is None
    assert any(error in str(each) for each in result.errors), [str(each) for each in result.errors]


GUARD_ERRORS = [
    ("shutdown: {maxClosesPerSecond: 0}", "a.yaml:4:34: error: expected a number of at least 1"),
    (
        "listener: {address: 8080}",
        "a.yaml:4:23: error: expected HOST:PORT such as 127.0.0.1:8080, or unix:/PATH, found the number 8080",
    ),
    ("listener: {allowedHosts: ['https://x']}", "a.yaml:4:29: error: 'https://x' is not a host"),
    ("listener: {handshakeTimeout: 0s}", "a.yaml:4:32: error: expected a duration longer than 0s"),
    (
        "backends: [{name: a, url: 'http://a:1', tls: {serverName: b}}]",
        "a.yaml:4:48: error: tls is for an https:// url",
    ),
    ("backends: [{url: 'https://a', tls: {serverName: 'a b'}}]", "a.yaml:4:51: error: 'a b' is not a host name"),
    ("backends: [{url: 'unix:app.sock'}]", "expected unix:/PATH with an absolute path"),
    (f"backends: [{{url: 'unix:///{'a' * 120}'}}]", "the path of a Unix socket has at most 107 bytes"),
    ("listener: {address: 'unix:run/x'}", "expected HOST:PORT"),
    ("listener: {tls: {certFile: a}}", '"keyFile" is missing'),
    ("listener: {tls: {certFile: a, keyFile: b, certificates: [{certFile: c}]}}", '"keyFile" is missing'),
    ("listener: {tls: {certFile: a, keyFile: b, clientValidation: {optional: true}}}", '"caFile" is missing'),
    ("listener: {proxyProtocol: 'yes'}", "error: "),
    ("backends: [{name: a, url: 'https://a:1/x'}]", "a.yaml:4:29: error: expected an address such as"),
    ("backends: [{name: a, url: 'http://a:1/x'}]", "a.yaml:4:29: error: expected an address such as http://127.0.0.1"),
    (
        "backends: [{url: 'http://a:1'}, {url: 'http://b:1'}]",
        'a.yaml:4:35: error: two backends have the name "default": each needs its own',
    ),
    (
        "backends: [{name: blue, url: 'http://a:1'}, {name: blue, url: 'http://b:1'}]",
        'a.yaml:4:54: error: two backends have the name "blue"',
    ),
    ("clientIPDetection: {}", "a.yaml:4:22: error: expected exactly one of xForwardedFor and forwarded"),
    (
        "clientIPDetection: {xForwardedFor: {numTrustedHops: 1}, forwarded: {numTrustedHops: 1}}",
        "a.yaml:4:70: error: expected exactly one of xForwardedFor and forwarded",
    ),
    ("overload: {maxConnections: 0}", "expected a number of at least 1, found the number 0"),
    ("overload: {maxMemory: 500}", "expected a size such as 8Ki or 1Mi, found the number 500"),
    ("overload: {maxLoopLag: 0s}", "expected a duration longer than 0s"),
    ("clientIPDetection: {xForwardedFor: {}}", "a.yaml:4:38: error: expected exactly one of trustedCIDRs and numTrust"),
    (
        "clientIPDetection: {xForwardedFor: {trustedCIDRs: [10.0.0.0/8], numTrustedHops: 1}}",
        "a.yaml:4:83: error: expected exactly one of trustedCIDRs and numTrustedHops",
    ),
    ("clientIPDetection: {xForwardedFor: {numTrustedHops: 0}}", "a.yaml:4:55: error: expected a number of at least 1"),
    ("nonWebSocket: Drop", 'a.yaml:4:17: error: expected Forward or Deny, found "Drop"'),
    (
        "sessionEvents: {sources: [{type: RedisStream, url: 'redis://a'}]}",
        'a.yaml:4:18: error: "onGap" is missing',
    ),
    (
        "sessionEvents: {sources: [{type: RedisStream, url: 'redis://u:p@a'}]}",
        "error: an address in a policy file has no user and no password",
    ),
    ("sessionEvents: {sources: [{type: RedisStream, url: 'nats://a'}]}", "expected an address such as redis://127"),
    ("sessionEvents: {sources: [{type: RedisStream}]}", "error: expected exactly one of url and urlFile"),
    (
        "sessionEvents: {sources: [{type: NATSJetStream, url: 'nats://a', ky: b}]}",
        'a.yaml:4:68: error: unknown key "ky"',
    ),
    ("sessionEvents: {sources: [{type: NATSJetStream, url: 'nats://a', stream: a.b}]}", "name of a JetStream stream"),
    ("sessionEvents: {sources: [{type: NATSJetStream, url: 'nats://a', subject: 'a.>'}]}", "expected a NATS subject"),
    (
        "sessionEvents: {sources: [{type: RedisStrem}]}",
        'or NATSJetStream, found "RedisStrem"; did you mean RedisStream?',
    ),
    ("sessionEvents: {sources: [{url: 'redis://a'}]}", 'a.yaml:4:29: error: "type" is missing'),
    (
        "sessionEvents: {onGap: Continue, sources: [{type: RedisStream, url: 'redis://a'}, "
        "{type: RedisStream, url: 'redis://b'}]}",
        "error: 2 sources are RedisStream",
    ),
    (
        "sessionEvents: {sources: [{type: BackChannelLogout, issuer: a, clientIDs: [b], algorithms: [HS256], "
        "remoteJWKS: {uri: 'https://a'}}]}",
        "HS* algorithms are not for events",
    ),
    (
        "sessionEvents: {sources: [{type: BackChannelLogout, issuer: a, clientIDs: [b], algorithms: [RS256]}]}",
        "error: expected exactly one of remoteJWKS and localJWKS",
    ),
    ("sessionEvents: {onGap: Close}", 'expected Continue or CloseAll, found "Close"'),
    ("sessionEvents: {denyList: {maxEntries: 0}}", "expected a number of at least 1"),
    (
        "sessionEvents: {sources: [{type: RedisStream, url: 'rediss://a', tls: {certFile: a}}]}",
        "error: certFile and keyFile go together",
    ),
    (
        "sessionEvents: {sources: [{type: NATSJetStream, url: 'nats://a', tls: {caFile: a}}]}",
        "error: tls is for rediss:// and tls:// addresses",
    ),
    (
        "sessionEvents: {sources: [{type: NATSJetStream, url: 'nats://a', tokenFile: a, credentialsFile: b}]}",
        "error: credentialsFile goes with no username, passwordFile or tokenFile",
    ),
    ("shutdown: {closeCode: 1005}", "a.yaml:4:25: error: expected a close code that may be sent"),
    ("admin: {tokenFile: []}", "a.yaml:4:22: error: expected the path of a file, found a list"),
    ("logging: {level: warn}", 'a.yaml:4:20: error: expected debug or info or warning or error, found "warn"; did you'),
]


@pytest.mark.parametrize(("spec", "error"), GUARD_ERRORS)
def test_says_what_is_wrong_with_a_guard_config_and_where(spec: str, error: str) -> None:
    found = errors(guard(spec))
    assert any(error in each for each in found), found


def test_a_stream_over_the_network_is_better_encrypted() -> None:
    def warned(url: str) -> bool:
        text = f"sessionEvents: {{onGap: Continue, sources: [{{type: RedisStream, url: '{url}'}}]}}"
        return any("travel unencrypted" in each.message for each in loaded(guard(text)).problems)

    assert warned("redis://redis.example.com:6379/0")
    assert not warned("rediss://redis.example.com:6379/0")
    assert not warned("redis://127.0.0.1:6379/0")


def test_events_are_read_back_as_far_as_a_connection_may_live() -> None:
    stream = "{type: RedisStream, url: 'redis://a'}"
    short = guard(f"sessionEvents: {{onGap: Continue, replayWindow: 1h, sources: [{stream}]}}")
    (error,) = errors(f"{short}\n---\n{policy('session: {maxConnectionDuration: 8h}')}")
    assert 'shorter than the maxConnectionDuration of policy "' in error
    assert not errors(f"{short}\n---\n{policy('session: {maxConnectionDuration: 1h}')}")


@pytest.mark.parametrize(
    ("spec", "warns"),
    [
        (f"jwt: {{providers: [{PROVIDER}}}]}}", True),
        (f"jwt: {{providers: [{PROVIDER.replace('issuer: i', 'issuer: https://op.test')}}}]}}", False),
        (f"introspection: {{providers: [{{{OPAQUE}}}]}}", False),
        (f"introspection: {{providers: [{{{OPAQUE}, issuer: 'https://op.test/'}}]}}", True),
        (f"forwardAuth: {{{ASKED}, subjectFrom: {{jsonPath: id}}}}", True),
    ],
)
def test_a_provider_that_posts_is_one_whose_sessions_the_policies_know(spec: str, warns: bool) -> None:
    source = "{type: BackChannelLogout, issuer: 'https://op.test', clientIDs: [web], algorithms: [RS256],"
    text = guard(f"sessionEvents: {{sources: [{source} remoteJWKS: {{uri: 'https://op.test/jwks'}}}}]}}")
    found = [str(problem) for problem in loaded(f"{text}\n---\n{policy(spec)}").problems]
    assert any('no policy has credentials of the issuer "https://op.test"' in each for each in found) == warns, found


DOCUMENT_ERRORS = [
    ("[]", "a.yaml:1:1: error: expected a mapping with apiVersion, kind and spec, found a list"),
    ("hello", 'a.yaml:1:1: error: expected a mapping with apiVersion, kind and spec, found "hello"'),
    ("a: b", 'a.yaml:1:1: error: "kind" is missing: WebSocketPolicy or GuardConfig'),
    ("kind: [x]", "a.yaml:1:7: error: expected WebSocketPolicy or GuardConfig, found a list"),
    ("kind: WebSocketPolcy", 'found "WebSocketPolcy"; did you mean WebSocketPolicy?'),
    ("kind: ConfigMap", 'a.yaml:1:7: error: expected WebSocketPolicy or GuardConfig, found "ConfigMap"'),
    ("kind: GuardConfig\nspec: {}", 'a.yaml:1:1: error: "apiVersion" is missing: wsguard.dev/v1'),
    ("kind: GuardConfig\napiVersion: v1\nspec: {}", 'a.yaml:2:13: error: expected wsguard.dev/v1, found "v1"'),
    ("apiVersion: wsguard.dev/v1\nkind: GuardConfig", 'a.yaml:1:1: error: "spec" is missing'),
    (
        "apiVersion: wsguard.dev/v1\nkind: WebSocketPolicy\nmetadata: {}\nspec: {}",
        'a.yaml:3:11: error: "name" is missing',
    ),
    ("apiVersion: wsguard.dev/v1\nkind: GuardConfig\nspec: {}\nstatus: {}", 'a.yaml:4:1: error: unknown key "status"'),
]


@pytest.mark.parametrize(("text", "error"), DOCUMENT_ERRORS)
def test_says_what_is_no_document(text: str, error: str) -> None:
    assert any(error in each for each in errors(text)), errors(text)


def test_says_everything_at_once_in_the_order_of_the_files() -> None:
    first = policy("orign: {}\nsession: {clockSkew: 5}\nsession: {}\nbackendLoss: {}")
    found = errors(f"{first}---\nkind: Nothing\n", guard("listener: {address: x}\nbackends: 3"))
    places = [error.split(" ", 1)[0] for error in found]
    assert places == [
        "a.yaml:5:3:",
        "a.yaml:6:24:",
        "a.yaml:7:3:",
        "a.yaml:8:16:",
        "a.yaml:10:7:",
        "b.yaml:4:23:",
        "b.yaml:5:13:",
    ]


def test_broken_items_do_not_make_a_list_too_short() -> None:
    assert len(errors(policy("match: {hostnames: ['http://a', 'b c']}"))) == 2


def test_an_alias_is_complained_of_once() -> None:
    assert len(errors(policy("match: &m {}\norigin: *m"))) == 2


def test_two_policies_of_one_name() -> None:
    one, two = policy("match: {hostnames: [a.example]}"), policy("match: {hostnames: [b.example]}")
    assert errors(one, two) == ['b.yaml:3:18: error: two policies have the name "p", the other one at a.yaml:3:18']


@pytest.mark.parametrize(
    ("one", "two", "place"),
    [
        (
            "match: {paths: [{type: PathPrefix, value: /ws}]}",
            "match: {paths: [{type: PathPrefix, value: /ws/}]}",
            "5:18",
        ),
        ("match: {paths: [{type: PathPrefix, value: /}]}", "session: {}", "5:3"),
        ("match: {hostnames: [A.example]}", "match: {hostnames: [b.example, a.example.]}", "5:10"),
    ],
)
def test_two_policies_that_claim_the_same(one: str, two: str, place: str) -> None:
    (error,) = errors(policy(one, "one"), policy(two, "two"))
    assert error.startswith(f"b.yaml:{place}: error: claims PathPrefix /")
    assert error.endswith('which policy "one" at a.yaml:1:1 claims too')


def test_a_policy_with_errors_still_claims_its_name_and_paths() -> None:
    found = errors(policy("streams: {}", "one"), policy("backendLoss: {}", "one"))
    assert len(found) == 4
    assert 'two policies have the name "one"' in found[1]
    assert any("claims PathPrefix / on every host" in each for each in found)


def test_two_guard_configs() -> None:
    second = "a second GuardConfig, the first one is at a.yaml:1:1"
    assert errors(guard(""), policy(""), guard("")) == [f"c.yaml:1:1: error: {second}"]
    assert errors(guard("listener: {port: 1}"), guard(""))[1:] == [f"b.yaml:1:1: error: {second}"]


def test_flags_beat_the_guard_config() -> None:
    text = guard("listener: {address: '127.0.0.1:1', allowedHosts: [a.example]}\nbackends: [{url: 'http://a:1'}]")
    overrides = Overrides.parse(listen="0.0.0.0:8080", admin="[::1]:7", backend="http://b")
    result = load([SourceText("a.yaml", text), SourceText("b.yaml", policy(""))], overrides)
    assert result.policy_set is not None
    spec = result.policy_set.guard
    assert str(spec.listener.address) == "0.0.0.0:8080"
    assert spec.listener.allowed_hosts == ("a.example",)
    assert str(spec.admin.address) == "[::1]:7"
    assert [backend.url for backend in spec.backends] == ["http://b:80"]


def test_flags_are_looked_at_when_warning() -> None:
    result = load((), Overrides.parse(listen="0.0.0.0:8080"))
    assert result.policy_set is not None
    (warning,) = result.problems
    assert "any Host is answered on 0.0.0.0:8080" in warning.message
    assert warning.severity is Severity.WARNING


def test_names_the_files_that_keys_are_in() -> None:
    spec = """
jwt:
  providers:
  - {name: a, algorithms: [HS256], localSecretFile: a.key}
  - {name: b, algorithms: [RS256], localJWKS: {file: /b.json}}
  - {name: c, algorithms: [RS256], remoteJWKS: {uri: 'https://c', caFile: c.pem}}
"""
    text = policy(spec) + "---\n" + guard("admin: {tokenFile: d}")
    result = load([SourceText("/etc/w/p.yaml", text)])
    assert [(file.file, file.content.value, str(file.place)) for file in result.key_files] == [
        ("/etc/w/a.key", "keys", "/etc/w/p.yaml:8:55"),
        ("/b.json", "keys", "/etc/w/p.yaml:9:56"),
        ("/etc/w/c.pem", "certificates", "/etc/w/p.yaml:10:77"),
        ("/etc/w/d", "bearer token", "/etc/w/p.yaml:16:22"),
    ]


def test_says_a_bounded_number_of_errors() -> None:
    found = errors(policy("\n".join(f"key{i}: 1" for i in range(1000))))
    assert len(found) == 101
    assert found[0] == "a.yaml:1:1: error: 900 more errors in this document"
