"""`wsguard explain` says what the guard does, in the guard's own words, and never shows a credential."""

from __future__ import annotations

import base64
import io
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.backend import RecordingBackend
from tests.support.guard import JWT, Guard, policy
from tests.support.tokens import Issuer
from wsguard.cli import main
from wsguard.protocol.reasons import CloseReason

SPEC = f"""
match: {{hostnames: [app.test], paths: [{{type: PathPrefix, value: /ws}}]}}
{JWT}
authorization:
  rules:
  - name: staff
    action: Allow
    principal: {{jwt: {{claims: [{{name: groups, values: [staff]}}]}}}}
"""
URL = "ws://app.test/ws"
HOME = "http://app.test"
PROMPT = aiohttp.ClientWSTimeout(ws_close=0.1)  # the recording backend answers no Close


class Explainer:
    """The command, on a policy in a folder of the test's own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.issuer = Issuer.of("HS256")
        self.issuer.write_secret(folder / "hmac.key")
        self.write(policy(SPEC))
        self._capsys = capsys

    def write(self, text: str) -> None:
        """Replace the policy."""
        (self.folder / "policy.yaml").write_text(text.replace("{folder}", str(self.folder)))

    def text(self, *arguments: str) -> str:
        """What it prints, with exit status 0."""
        status = main(["explain", "--policy", str(self.folder / "policy.yaml"), *arguments])
        printed = self._capsys.readouterr()
        assert (status, printed.err) == (0, "")
        return printed.out

    def json(self, *arguments: str) -> dict[str, Any]:
        """The same as JSON."""
        answer: dict[str, Any] = json.loads(self.text(*arguments, "--json"))
        return answer

    def error(self, *arguments: str) -> str:
        """What it prints on stderr, with exit status 2."""
        status = main(["explain", "--policy", str(self.folder / "policy.yaml"), *arguments])
        assert status == 2
        return self._capsys.readouterr().err


@pytest.fixture
def explain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Explainer:
    return Explainer(tmp_path, capsys)


def test_a_foreign_page_stops_at_the_first_check(explain: Explainer) -> None:
    told = explain.json("--url", URL, "--origin", "http://evil.test", "--cookie", "session=whatever")
    assert told["result"] == "refused"
    assert told["policy"] == "chat"
    assert [(step["check"], step["passed"]) for step in told["steps"]] == [("request", True), ("origin", False)]
    assert told["refusal"]["reason"] == CloseReason.ORIGIN_DENIED.token
    assert told["refusal"]["code"] == CloseReason.ORIGIN_DENIED.code


def test_an_admission_passes_every_check_in_order(explain: Explainer) -> None:
    token = explain.issuer.token("ann", groups=["staff"])
    told = explain.json("--url", URL, "--origin", HOME, "--cookie", f"session={token}")
    assert told["result"] == "admitted"
    names = ["request", "origin", "host", "policy", "handshake-token", "subprotocol", "token-binding"]
    names += ["credentials", "forward-auth", "identity", "deny-list", "authorization"]
    assert [step["check"] for step in told["steps"]] == names
    assert all(step["passed"] for step in told["steps"])
    assert told["admission"]["subject"] == "ann"
    assert told["admission"]["issuer"] == explain.issuer.issuer
    assert told["refusal"] is None
    assert token not in json.dumps(told)


def test_text_names_the_check_that_says_no(explain: Explainer) -> None:
    told = explain.text("--url", URL, "--origin", HOME, "--cookie", f"session={explain.issuer.token()}")
    assert "authorization    NO  no rule matches: defaultAction Deny" in told
    assert told.endswith("\nrefused: 4403 not-authorized; the client should give up\n")


def test_cookies_come_from_standard_input(explain: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    token = explain.issuer.token(groups=["staff"])
    monkeypatch.setattr("sys.stdin", io.StringIO(f"theme=dark; session={token}\n"))
    assert explain.json("--url", URL, "--origin", HOME, "--cookie", "-")["result"] == "admitted"


def test_bytes_of_standard_input_go_as_they_are(explain: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cookie may hold any: a browser sends what a server has set."""
    given = io.BytesIO(b"theme=\xff\xe9; session=" + explain.issuer.token(groups=["staff"]).encode() + b"\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(given, encoding="utf-8", errors="strict"))
    assert explain.json("--url", URL, "--origin", HOME, "--cookie", "-")["result"] == "admitted"


def test_what_the_backend_sees_differently(explain: Explainer) -> None:
    hidden = JWT.replace(
        "{cookies: [session]}", "{params: [access_token]}\n    claimToHeaders: [{claim: sub, header: X-Who}]"
    )
    explain.write(policy(f"match: {{hostnames: [app.test]}}\n{hidden}"))
    told = explain.text("--url", f"{URL}?access_token={explain.issuer.token('ann')}", "--origin", HOME)
    assert "hidden from the backend: param:access_token" in told
    assert "added for the backend: X-Who: ann" in told


def test_what_a_service_tells_the_backend_is_not_shown(explain: Explainer) -> None:
    """It may be a token that the service made for the backend."""
    answer = b"HTTP/1.1 200 OK\r\nX-Internal: s3cret\r\nContent-Length: 0\r\n\r\n"

    def serve(server: socket.socket) -> None:
        asked, _ = server.accept()
        with asked:
            asked.recv(65536)
            asked.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as service:
        done = service.submit(serve, server)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        asks = f"forwardAuth: {{url: {url}, headersToExtAuth: [cookie], headersToBackend: [x-internal]}}"
        explain.write(policy(f"match: {{hostnames: [app.test]}}\n{asks}"))
        told = explain.text("--url", URL, "--origin", HOME, "--cookie", "session=abc")
        done.result(10)
        done = service.submit(serve, server)
        read = explain.json("--url", URL, "--origin", HOME, "--cookie", "session=abc")
        done.result(10)
    assert "added for the backend: x-internal, as forwardAuth says" in told
    assert "s3cret" not in told + str(read)


def test_a_handshake_token_is_judged_and_not_shown(explain: Explainer) -> None:
    (explain.folder / "tokens.key").write_text(base64.b64encode(bytes(range(32))).decode())
    explain.write(policy(f"origin: {{handshakeToken: {{required: true, secretFile: tokens.key}}}}\n{JWT}"))
    told = explain.text("--url", "ws://localhost/ws", "--origin", "http://localhost")
    assert "handshake-token  NO  there is none, and it is required" in told
    assert told.endswith("\nrefused: 4403 handshake-token-invalid; the client should give up\n")
    told = explain.text("--url", "ws://localhost/ws?wsguard_token=s3cret", "--origin", "http://localhost")
    assert "handshake-token  NO  none of the keys opens the token" in told
    assert "s3cret" not in told
    explain.write(policy(JWT))
    cookie = f"session={explain.issuer.token()}"
    told = explain.text(
        "--url", "ws://localhost/ws?wsguard_token=s3cret", "--origin", "http://localhost", "--cookie", cookie
    )
    assert "hidden from the backend: param:wsguard_token" in told


def test_audit_says_what_it_would_do(explain: Explainer) -> None:
    explain.write(policy(f"{SPEC}\nenforcement: Audit"))
    told = explain.text("--url", URL, "--origin", "http://evil.test")
    assert "would be refused, but the policy only audits: 4403 origin-denied" in told
    assert "admitted by policy chat as anonymous" in told


def test_the_policys_own_words_are_used(explain: Explainer) -> None:
    explain.write(policy(f"{SPEC}\nrejection: {{mode: HTTPStatus, codes: {{origin-denied: 4999}}}}"))
    assert explain.json("--url", URL, "--origin", "http://evil.test")["refusal"]["code"] == 4999
    assert explain.json("--url", URL, "--origin", HOME)["refusal"]["status"] == 401


@pytest.mark.parametrize(
    ("arguments", "status", "why"),
    [
        (["--url", "ws://app.test/a/../ws"], 400, "dot segment"),
        (["--url", "ws://app.test/.wsguard/renew"], 404, "/.wsguard"),
        (["--url", "ws://user@app.test/ws"], 400, "Host"),
        (["--header", "Sec-WebSocket-Version: 8"], 426, "13"),
        (["--header", "Upgrade: websocket, h2c"], 426, "Upgrade"),
        (["--header", "Transfer-Encoding: chunked"], 400, "body"),
    ],
)
def test_what_is_no_handshake_gets_plain_http(explain: Explainer, arguments: list[str], status: int, why: str) -> None:
    told = explain.json(*arguments)
    assert told["result"] == "http"
    assert told["refusal"]["status"] == status
    assert why in told["steps"][0]["detail"]


def test_tls_and_proxies_count(explain: Explainer) -> None:
    """An http page may not open a wss socket; behind a trusted proxy the forwarded scheme and host decide."""
    assert explain.json("--url", "wss://app.test/ws", "--origin", HOME)["refusal"]["reason"] == "origin-denied"
    trusted = "spec: {clientIPDetection: {xForwardedFor: {trustedCIDRs: [10.0.0.0/8]}}}"
    explain.write(f"{policy(SPEC)}---\napiVersion: wsguard.dev/v1\nkind: GuardConfig\n{trusted}\n")
    proxied = ["--header", "X-Forwarded-Proto: https", "--header", "X-Forwarded-Host: app.test"]
    inside = ["--url", "ws://127.0.0.1/ws", "--origin", "https://app.test", *proxied]
    assert explain.json(*inside, "--remote-ip", "10.1.2.3")["refusal"]["reason"] == "credential-missing"
    assert explain.json(*inside, "--remote-ip", "192.0.2.1")["refusal"]["reason"] == "origin-denied"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--url", "app.test/ws"], "--url must be like"),
        (["--remote-ip", "here"], "--remote-ip must be an IP address"),
        (["--header", "nothing"], "--header must be like"),
        (["--header", "A: b\r\nC: d"], "control characters"),
        (["--cookie", "nothing"], "--cookie must be NAME=VALUE"),
    ],
)
def test_bad_usage_is_a_sentence(explain: Explainer, arguments: list[str], sentence: str) -> None:
    assert sentence in explain.error(*arguments)


def test_bad_policies_are_said_as_check_says_them(explain: Explainer) -> None:
    explain.write("apiVersion: wsguard.dev/v1\nkind: WebSocketPolicy\nmetadata: {name: x}\nspec: {orgin: {}}\n")
    assert 'policy.yaml:4:8: error: unknown key "orgin"; did you mean origin?' in explain.error()


async def test_the_guard_does_what_explain_says(explain: Explainer, backend: RecordingBackend) -> None:
    foreign, staff = "http://evil.test", explain.issuer.token(groups=["staff"])
    cases = [
        (foreign, staff), (HOME, ""), (HOME, "rubbish"), (HOME, explain.issuer.token()), (HOME, staff),
        (HOME, explain.issuer.token(lives=-3600.0)), (None, staff),
    ]  # fmt: skip
    async with Guard(backend, policy(SPEC)) as guard, aiohttp.ClientSession() as session:
        for origin, token in cases:
            headers = {"Host": "app.test"} | ({"Origin": origin} if origin else {})
            headers |= {"Cookie": f"session={token}"} if token else {}
            async with session.ws_connect(f"{guard.ws}/ws", headers=headers, timeout=PROMPT) as socket:
                if token == staff and origin == HOME:
                    done = "admitted"
                else:
                    await socket.receive()
                    done = f"{socket.close_code}"
            said = _said(explain, origin, token)
            assert said == done, (origin, token)


def _said(explain: Explainer, origin: str | None, token: str) -> str:
    from concurrent.futures import ThreadPoolExecutor  # the command runs a loop of its own

    arguments = ["--url", URL]
    arguments += ["--origin", origin] if origin else []
    arguments += ["--cookie", f"session={token}"] if token else []
    with ThreadPoolExecutor() as pool:
        told = pool.submit(explain.json, *arguments).result()
    return str(told["refusal"]["code"]) if told["refusal"] else str(told["result"])


def test_a_condition_that_cannot_be_told_is_said(explain: Explainer) -> None:
    explain.write(policy(SPEC + """  - {name: gold, action: Allow, cel: "claims.tier == 'gold'"}\n"""))
    arguments = ("--url", URL, "--origin", HOME, "--cookie")
    golden = explain.json(*arguments, f"session={explain.issuer.token(tier='gold')}")
    assert golden["result"] == "admitted"
    assert golden["steps"][-1]["detail"] == "rule 'gold' (Allow)"
    told = explain.json(*arguments, f"session={explain.issuer.token()}")
    assert told["result"] == "refused"
    assert told["steps"][-1]["detail"] == (
        """no rule matches: defaultAction Deny; the cel of rule 'gold' cannot be told: there is no "tier\""""
    )


FIRST = policy(
    SPEC.replace("{cookies: [session]}", "{cookies: [session], firstMessage: {jsonPath: payload.token, timeout: 3s}}")
    + "limits: {subprotocols: [chat]}\nrejection: {mode: HTTPStatus}"
)


def test_a_first_message_would_be_awaited(explain: Explainer) -> None:
    """Unless another credential came."""
    explain.write(FIRST)
    offer = ("--header", "Sec-WebSocket-Protocol: other, chat")
    told = explain.json("--url", URL, "--origin", HOME, *offer)
    assert told["result"] == "awaited"
    assert told["awaited"] == {"timeout": 3.0, "subprotocol": "chat"}
    assert told["steps"][-1] == {
        "check": "first-message",
        "passed": True,
        "detail": "awaited: no other credential came",
    }
    text = explain.text("--url", URL, "--origin", HOME)
    assert "answered, with no subprotocol, and judged by the first message, which may take 3 s" in text
    token = explain.issuer.token(groups=["staff"])
    told = explain.json("--url", URL, "--origin", HOME, "--cookie", f"session={token}", *offer)
    assert (told["result"], told["awaited"]) == ("admitted", None)
    assert told["admission"]["erased"] == ["subprotocol:other"]


def test_a_first_message_that_is_given_is_judged(explain: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the 101 on a refusal is a Close, whatever `mode` says."""
    explain.write(FIRST)
    message = json.dumps({"payload": {"token": explain.issuer.token(groups=["staff"])}})
    told = explain.json("--url", URL, "--origin", HOME, "--first-message", message)
    assert told["result"] == "admitted"
    assert told["admission"]["erased"] == ["first-message:payload.token"]
    for said, reason, code in (
        ("{}", "credential-missing", 4401),
        ("nothing", "credential-invalid", 4401),
        ("x" * 9000, "message-too-big", 1009),
        (json.dumps({"payload": {"token": explain.issuer.token()}}), "not-authorized", 4403),
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(said.encode())))
        told = explain.json("--url", URL, "--origin", HOME, "--first-message", "-")
        assert (told["refusal"]["reason"], told["refusal"]["code"]) == (reason, code)


@pytest.mark.parametrize(("mode", "renewal"), [("Explicit", None), ("Passive", "Passive")])
def test_no_request_can_show_what_was_said_first(explain: Explainer, mode: str, renewal: str | None) -> None:
    explain.write(FIRST + f"  session: {{renewal: {mode}}}\n")
    message = json.dumps({"payload": {"token": explain.issuer.token(groups=["staff"], sid="s-1")}})
    told = explain.json("--url", URL, "--origin", HOME, "--first-message", message)
    assert (told["result"], told["admission"]["renewal"]) == ("admitted", renewal)


def test_an_unlisted_subprotocol(explain: Explainer) -> None:
    explain.write(FIRST)
    told = explain.json("--url", URL, "--origin", HOME, "--header", "Sec-WebSocket-Protocol: other")
    assert (told["refusal"]["reason"], told["refusal"]["status"]) == ("subprotocol-denied", 406)
    assert told["steps"][-1]["detail"] == "none that is offered is listed: chat"


@pytest.mark.parametrize(
    ("mode", "claims", "line"),
    [
        ("Explicit", {"sid": "s-1"}, "prolonged by a newer token of the session, shown to /.wsguard/renew"),
        ("Passive", {"sid": "s-1"}, "shown to /.wsguard/renew or seen in passing"),
        ("Off", {"sid": "s-1"}, "no newer token prolongs the connection"),
        ("Passive", {}, "no newer token prolongs the connection"),
    ],
)
def test_it_says_whether_the_connection_could_be_renewed(
    explain: Explainer, mode: str, claims: dict[str, Any], line: str
) -> None:
    explain.write(policy(f"{SPEC}session: {{renewal: {mode}}}\n"))
    token = explain.issuer.token(groups=["staff"], **claims)
    assert f"{line}\n" in explain.text("--url", URL, "--origin", HOME, "--cookie", f"session={token}")


def replayed(explain: Explainer, *, origin: str | None = HOME, **fields: object) -> tuple[str, dict[str, str]]:
    """The verdict on a line of the audit trail, and what each check said."""
    line = {"time": "2026-01-31T12:00:00.000Z", "event": "handshake", "policy": "chat", "revision": "0a1b2c"}
    where = {"client_ip": "192.0.2.7", "host": "app.test", "path": "/ws", "origin": origin}
    told = explain.json("--replay", json.dumps({**line, **where, **fields}))
    return told["verdict"], {step["check"]: step["detail"] for step in told["steps"]}


def test_a_line_of_the_audit_trail_is_judged_again(explain: Explainer) -> None:
    verdict, steps = replayed(explain, result="refused", reason="credential-expired", detail="cookie:session: old")
    assert verdict == "as far as the line tells, as then: refused, credential-expired"
    then = "refused: credential-expired: cookie:session: old (2026-01-31T12:00:00.000Z under revision 0a1b2c)"
    assert steps == {
        "recorded": then,
        "origin": f"{HOME} is allowed",
        "host": "app.test is answered to",
        "policy": "policy chat matches",
    }


def test_a_line_does_not_tell_of_handshake_tokens(explain: Explainer) -> None:
    explain.write(policy(f"origin: {{handshakeToken: {{required: true, secretFile: tokens.key}}}}\n{SPEC}"))
    (explain.folder / "tokens.key").write_text(base64.b64encode(bytes(range(32))).decode())
    for result in ({"result": "admitted"}, {"result": "refused", "reason": "handshake-token-invalid"}):
        assert replayed(explain, **result)[0].startswith("as far as the line tells, as then: ")


def test_other_policies_would_decide_otherwise(explain: Explainer) -> None:
    admitted = {"result": "admitted", "path": "/wssss"}
    assert replayed(explain, **admitted)[0] == "would be refused by the policies given: no-policy"
    evil = replayed(explain, origin="http://evil.test", result="admitted")
    assert evil[0] == "would be refused by the policies given: origin-denied"
    assert replayed(explain, scheme="https", result="admitted")[0].endswith("origin-denied"), "HOME is http"
    allowed = replayed(explain, result="refused", reason="origin-denied")
    assert allowed[0] == "would pass what refused it then; its credentials, which are not in the line, decide"
    explain.write(policy(SPEC + "enforcement: Audit\n"))
    evil = replayed(explain, origin="http://evil.test", result="refused", reason="origin-denied")
    assert evil[0] == "would be let through by a policy that only audits by the policies given: origin-denied"


def test_a_line_without_an_origin_says_what_it_does_not_tell(explain: Explainer) -> None:
    _, steps = replayed(explain, origin=None, result="refused", reason="origin-denied")
    assert "whether a cookie came" in steps["origin"]


def test_a_line_is_read_from_standard_input(explain: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    line = {"time": "2026-01-31T12:00:00Z", "event": "handshake", "result": "admitted", "client_ip": "::1"}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({**line, "host": "app.test", "path": "/ws"}) + "\n"))
    assert "as then: admitted" in explain.text("--replay", "-")


NO_RESULT = '{"time": "2026-01-31T12:00:00Z", "event": "handshake", "host": "a.test", "path": "/", "client_ip": "::1"}'


@pytest.mark.parametrize(
    "line", ["", "{}", '{"time": "2026-01-31T12:00:00Z", "event": "started"}', "hello {", NO_RESULT]
)
def test_what_is_no_handshake_cannot_be_replayed(explain: Explainer, line: str) -> None:
    assert "--replay" in explain.error("--replay", line)


def test_it_says_whose_logout_ends_the_connection(explain: Explainer) -> None:
    explain.write(policy("session: {logoutDetection: {cookies: [session, id]}}"))
    asked = ("--url", "ws://127.0.0.1:8080/ws", "--cookie", "session=s3cr3t; id=", "--origin", "http://127.0.0.1:8080")
    assert explain.json(*asked)["admission"]["watched"] == ["cookie:session"]
    told = explain.text(*asked)
    assert "ends when the application logs out cookie:session" in told
    assert "s3cr3t" not in told


def test_a_line_of_the_trail_does_not_reach_the_terminal_raw(explain: Explainer) -> None:
    line = {"time": "2026-01-01T00:00:00Z", "event": "handshake", "result": "refused", "reason": "\ud800\x1b[31m"}
    text = json.dumps({**line, "host": "app.test", "path": "/ws", "client_ip": "::1", "detail": "\u202e"})
    for said in (explain.text("--replay", text), explain.text("--replay", text, "--json")):
        assert said.replace("\n", "").isprintable()


def test_limits_that_it_would_count_against(explain: Explainer) -> None:
    """How many others there are only a running guard knows."""
    limits = "limits: {connections: {total: 9, perSubject: 2}, compression: Deny}"
    explain.write(policy(f"{SPEC}\n{limits}" if not SPEC.endswith("\n") else f"{SPEC}{limits}"))
    token = explain.issuer.token(groups=["staff"])
    offer = ("--header", "Sec-WebSocket-Extensions: permessage-deflate")
    arguments = ("--url", URL, "--origin", HOME, "--cookie", f"session={token}", *offer)
    admission = explain.json(*arguments)["admission"]
    assert admission["counted"][0] == "connections.total, 9"
    assert admission["counted"][1].startswith("connections.perSubject, 2, for ")
    text = explain.text(*arguments)
    assert "counts against limits.connections.total, 9" in text
    assert "limits takes every extension out of the offer" in text


def test_a_stream_is_explained_where_the_policy_judges_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "streams.yaml").write_text(policy("streams: [ServerSentEvents, LongPolling]"))

    def said(*arguments: str) -> str:
        assert main(["explain", "--policy", str(tmp_path), *arguments]) == 0
        return capsys.readouterr().out

    assert "refused: HTTP 403 origin-denied" in said("--stream", "LongPolling", "--method", "post")
    assert "refused: HTTP 400" in said("--stream", "ServerSentEvents", "--url", "http://localhost/a//b")
    assert "admitted by policy chat" in said("--stream", "ServerSentEvents", "--header", "Sec-Fetch-Site: same-origin")
    assert "4404 no-policy" in said(), "a WebSocket is not what the policy is for"
