"""A real browser speaks TLS with the guard itself."""

from __future__ import annotations

from pathlib import Path

from tests.scenarios.browser.stage import APP, PAGE
from tests.support import backend as answers
from tests.support.backend import RecordingBackend
from tests.support.browser import chromium, open_socket, visit
from tests.support.certificates import Authority
from tests.support.guard import Guard, policy


async def test_a_page_and_its_socket(backend: RecordingBackend, tmp_path: Path) -> None:
    """The page comes over https, its messages over wss; a page of another origin reads why it may not."""
    certificate, key = Authority(tmp_path).server(APP)
    tls = f"{{certFile: {certificate}, keyFile: {key}}}"
    config = f"apiVersion: wsguard.dev/v1\nkind: GuardConfig\nspec: {{listener: {{tls: {tls}}}}}\n"
    backend.answer, backend.respond = answers.accept(echo=True), PAGE
    files = {"guard.yaml": config, "policy.yaml": policy(f"match: {{hostnames: [{APP}]}}")}
    async with RecordingBackend(respond=PAGE) as elsewhere, Guard(backend, files) as guard, chromium() as browser:
        socket = f"wss://{APP}:{guard.port}/ws"
        page = await visit(browser, f"https://{APP}:{guard.port}/")
        mine = await open_socket(page, socket)
        await mine.send_when_open("over TLS")
        assert await mine.message() == "over TLS"
        [connection] = await guard.connections()
        await guard.ask("DELETE", f"/v1/connections/{connection['id']}")
        closed = await mine.closed()
        assert (closed.code, closed.reason, closed.clean) == (4410, "terminated", True)
        foreign = await open_socket(await visit(browser, f"http://evil.test:{elsewhere.port}/"), socket)
        closed = await foreign.closed()
        assert (closed.code, closed.reason) == (4403, "origin-denied")
