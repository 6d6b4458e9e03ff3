"""`wsguard test`: policies are held to what their tests say, without a key, a secret or a service."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from wsguard.cli import main

POLICY = """
apiVersion: wsguard.dev/v1
kind: WebSocketPolicy
metadata: {name: chat}
spec:
  match: {hostnames: [app.test], paths: [{type: PathPrefix, value: /ws}]}
  %s
"""
PROVIDER = "{name: %s, issuer: https://%s, audiences: [chat], algorithms: [%s], %s, extractFrom: {cookies: [session]}}"
REQUEST = "{url: 'ws://app.test/ws', origin: 'http://app.test', cookies: {session: '${ann}'}}"


class Folder:
    """A folder with a policy and its tests, and the command."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self._capsys = capsys

    def write(self, spec: str, tests: str, more: str = "") -> None:
        """A policy of this spec beside tests (a list in flow style) with `more` of their document's spec."""
        (self.path / "chat.yaml").write_text(POLICY % spec)
        head = "apiVersion: wsguard.dev/v1\nkind: PolicyTest\nmetadata: {name: chat}\n"
        (self.path / "chat.test.yaml").write_text(f"{head}spec:\n  tests: {tests}\n  {more}\n")

    def test(self, *arguments: str) -> tuple[int, list[str], str]:
        """Exit status, lines on stdout, stderr."""
        status = main(["test", str(self.path), *arguments])
        printed = self._capsys.readouterr()
        return status, printed.out.splitlines(), printed.err


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Folder:
    return Folder(tmp_path, capsys)


def jwt(algorithm: str = "ES256", name: str = "corp") -> str:
    """A provider whose keys are nowhere to be had."""
    keys = "localSecretFile: absent.key" if algorithm.startswith("HS") else "remoteJWKS: {uri: 'https://idp.test/jwks'}"
    return f"jwt: {{providers: [{PROVIDER % (name, name, algorithm, keys)}]}}"


def refused(reason: str) -> str:
    """An expectation."""
    return f"{{result: refused, reason: {reason}}}"


@pytest.mark.parametrize("algorithm", ["HS256", "HS512", "RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"])
def test_tokens_are_signed_as_the_policy_wants(folder: Folder, algorithm: str) -> None:
    admitted = f"{{name: a, request: {REQUEST}, expect: {{result: admitted, subject: ann}}}}"
    forged = admitted.replace("ann", "eve").replace("name: a", "name: f")
    forged = forged.replace("admitted, subject: eve", "refused, reason: credential-invalid")
    eve = "eve: {provider: corp, claims: {sub: ann}, forged: true}"
    tokens = f"tokens: {{ann: {{provider: corp, claims: {{sub: ann}}}}, {eve}}}"
    folder.write(jwt(algorithm), f"[{admitted}, {forged}]", tokens)
    assert folder.test() == (0, ["2 tests: 2 passed, 0 failed"], "")


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("{provider: corp, claims: {sub: ann}, without: [exp]}", "credential-invalid"),
        ("{provider: corp, claims: {sub: ann, aud: other}}", "credential-invalid"),
        ("{provider: corp, claims: {sub: ann}, age: 2h}", "credential-expired"),
        ("{provider: corp, claims: {sub: ann}, age: 2h, lifetime: 3h}", None),
        ("{provider: corp, claims: {}}", "credential-invalid"),
    ],
)
def test_claims_are_as_written(folder: Folder, token: str, reason: str | None) -> None:
    expect = "{result: admitted}" if reason is None else refused(reason)
    folder.write(jwt(), f"[{{name: a, request: {REQUEST}, expect: {expect}}}]", f"tokens: {{ann: {token}}}")
    assert folder.test()[0] == 0


def test_time_stands_where_the_file_says(folder: Folder) -> None:
    claims = "{sub: ann, iat: 1000000000, exp: 1000003600}"
    trial = f"[{{name: a, request: {REQUEST}, expect: {{result: admitted}}}}]"
    tokens = f"tokens: {{ann: {{provider: corp, claims: {claims}}}}}"
    folder.write(jwt(), trial, f"{tokens}\n  now: 2001-09-09T02:00:00Z")
    assert folder.test()[0] == 0
    folder.write(jwt(), trial, tokens)
    assert folder.test()[0] == 1


def test_a_failure_says_what_was_expected_and_the_way_to_it(folder: Folder) -> None:
    expect = "{result: admitted, policy: other, subject: bob, erased: ['cookie:session'], added: {X-User: bob}}"
    folder.write(
        jwt(),
        f"[{{name: mine, request: {REQUEST}, expect: {expect}}}, {{name: gone, request: {{url: 'ws://app.test/'}}, "
        "expect: {result: refused, reason: origin-denied, code: 4401, status: 403}}]",
        "tokens: {ann: {provider: corp, claims: {sub: ann}}}",
    )
    status, lines, _ = folder.test()
    assert status == 1
    assert lines[0] == f"{folder.path}/chat.test.yaml:5:11: FAILED mine"
    assert lines[1:5] == [
        "    policy: expected other, found chat",
        "    subject: expected bob, found ann",
        "    erased: expected cookie:session, found nothing",
        "    added X-User: expected bob, found nothing",
    ]
    assert "    origin: ok, http://app.test is allowed" in lines
    assert lines[-1] == "2 tests: 0 passed, 2 failed"
    assert [line for line in lines if "expected" in line][4:] == [
        "    reason: expected origin-denied, found no-policy",
        "    code: expected 4401, found 4404",
        "    status: expected 403, found nothing",
    ]


def test_services_answer_as_written_or_not_at_all(folder: Folder) -> None:
    opaque = REQUEST.replace("${ann}", "opaque-1")
    secret = "endpoint: 'https://idp.test/introspect', clientID: guard, clientSecretFile: absent"
    spec = f"introspection: {{providers: [{{name: idp, {secret}, extractFrom: {{cookies: [session]}}}}]}}"
    answers = "{opaque-1: {active: true, sub: ann}}"
    folder.write(
        spec,
        f"[{{name: a, request: {opaque}, introspection: {answers}, expect: {{result: admitted, subject: ann}}}},"
        f" {{name: b, request: {opaque}, introspection: {{}}, expect: {refused('credential-invalid')}}},"
        f" {{name: c, request: {opaque}, expect: {refused('identity-unavailable')}}}]",
    )
    assert folder.test()[:2] == (0, ["3 tests: 3 passed, 0 failed"])


def test_a_token_that_is_made_for_the_run_can_be_asked_about(folder: Folder) -> None:
    endpoint = "endpoint: 'https://idp.test/introspect', clientID: guard, clientSecretFile: absent"
    spec = f"{jwt()}\n  introspection: {{providers: [{{name: idp, {endpoint}, extractFrom: {{cookies: [sid]}}}}]}}"
    request = REQUEST.replace("cookies: {session", "cookies: {sid")
    answers, expected = "{'${%s}': {active: true, sub: bob}}", "{result: admitted, subject: bob}"
    trial = f"{{name: a, request: %s, introspection: {answers}, expect: {expected}}}"
    folder.write(spec, f"[{trial % (request, 'ann')}]", "tokens: {ann: {provider: corp, claims: {sub: ann}}}")
    assert folder.test()[:2] == (0, ["1 tests: 1 passed, 0 failed"])
    folder.write(spec, f"[{trial % (request, 'anne')}]", "tokens: {ann: {provider: corp, claims: {sub: ann}}}")
    assert 'error: no token has the name "anne"; did you mean ann?' in folder.test()[2]


def test_junit(folder: Folder) -> None:
    trials = [f"{{name: '{name}', request: {{url: 'ws://app.test/ws'}}, expect: {{result: {result}}}}}"
              for name, result in (("good & sound", "admitted"), ("<bad>", "refused"))]  # fmt: skip
    folder.write("framing: Strict", f"[{', '.join(trials)}]")
    report = folder.path / "report.xml"
    status, lines, _ = folder.test("--junit", str(report), "--verbose")
    assert (status, lines[0]) == (1, f"{folder.path}/chat.test.yaml:5:11: passed good & sound")
    suite = ElementTree.parse(report).getroot()[0]
    assert suite.attrib == {"name": "chat", "tests": "2", "failures": "1", "errors": "0"}
    assert [case.get("name") for case in suite] == ["good & sound", "<bad>"]
    (failure,) = suite[1]
    assert failure.get("message") == "result: expected refused, found admitted"


def test_what_cannot_be_run_is_an_error_and_no_failure(folder: Folder) -> None:
    trial = "[{name: a, request: {url: %s}, expect: {result: admitted}}]"
    folder.write("framing: Loose", trial % "'ws://app.test/ws'")
    assert folder.test()[0] == 2  # the policy is in error
    folder.write("framing: Strict", trial % "app.test")
    assert "url must be like wss://" in folder.test()[2]
    folder.write("framing: Strict", trial % "'ws://app.test/ws', remoteIP: here")
    assert "chat.test.yaml:5:11: error: remoteIP must be an IP address" in folder.test()[2]
    folder.write(jwt(), trial % "'ws://app.test/ws'", "tokens: {ann: {provider: crop}}")
    assert 'chat.test.yaml:6:17: error: no JWT provider of the policies has the name "crop"' in folder.test()[2]
    (folder.path / "chat.yaml").unlink()
    assert "chat.yaml:1:1: error: there is no such file" in folder.test()[2]
    (folder.path / "chat.test.yaml").unlink()
    status, _, error = folder.test()
    assert (status, error) == (2, f"wsguard test: \n{folder.path}: the folder holds no *.test.yaml file\n")


def test_a_page_may_have_a_handshake_token(folder: Folder) -> None:
    """One for the rest of its request; a text that is none is refused, though no key is to be had."""
    origin = "origin: {handshakeToken: {required: true, secretFile: absent.key}}"
    given = REQUEST.replace("cookies:", "handshakeToken: true, cookies:")
    made_up = REQUEST.replace("/ws'", "/ws?wsguard_token=x'")
    expected = "{result: admitted, subject: ann}"
    tests = ", ".join(
        (
            f"{{name: with, request: {given}, expect: {expected}}}",
            f"{{name: without, request: {REQUEST}, expect: {refused('handshake-token-invalid')}}}",
            f"{{name: made up, request: {made_up}, expect: {refused('handshake-token-invalid')}}}",
        )
    )
    folder.write(f"{origin}\n  {jwt()}", f"[{tests}]", "tokens: {ann: {provider: corp, claims: {sub: ann}}}")
    assert folder.test() == (0, ["3 tests: 3 passed, 0 failed"], "")


def test_a_handshake_token_stands_with_what_another_service_said(folder: Folder) -> None:
    service = "forwardAuth: {url: 'http://127.0.0.1:1/me', headersToExtAuth: [cookie], subjectFrom: {jsonPath: id}}"
    origin = "origin: {handshakeToken: {required: true, secretFile: absent.key}}"
    given = "{url: 'ws://app.test/ws', origin: 'http://app.test', handshakeToken: true, cookies: {sid: s}}"
    tests = ", ".join(
        (
            f"{{name: yes, request: {given}, forwardAuth: {{body: {{id: ann}}}}, expect: {{result: admitted}}}}",
            f"{{name: no, request: {given}, forwardAuth: {{status: 401}},"
            f" expect: {refused('handshake-token-invalid')}}}",
            f"{{name: away, request: {given}, expect: {refused('identity-unavailable')}}}",
        )
    )
    folder.write(f"{origin}\n  {service}", f"[{tests}]")
    assert folder.test() == (0, ["3 tests: 3 passed, 0 failed"], "")
