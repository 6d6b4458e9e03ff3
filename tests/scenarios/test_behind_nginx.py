"""Behind a real proxy that ends TLS: the guard sees the browser's world through what the proxy forwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect as websockets_connect
from websockets.exceptions import ConnectionClosed

from tests.support import backend as answers
from tests.support.backend import RecordingBackend
from tests.support.certificates import Authority
from tests.support.guard import Guard, policy
from tests.support.ports import free_port, listening
from tests.support.programs import Program, need

NAME = "app.example.test"
CONFIG = """
apiVersion: wsguard.dev/v1
kind: GuardConfig
spec:
  listener: {allowedHosts: [app.example.test]}
  clientIPDetection: {xForwardedFor: {trustedCIDRs: [127.0.0.0/8]}}
"""
NGINX = """
daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1;
events {{}}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificate}; ssl_certificate_key {key};
    location / {{
      proxy_pass http://127.0.0.1:{guard};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
    }}
  }}
}}
"""


@asynccontextmanager
async def nginx(folder: Path, guard: Guard, authority: Authority) -> AsyncIterator[int]:
    """nginx with TLS in front of `guard`; its port."""
    port = free_port()
    certificate, key = authority.server(NAME)
    config = NGINX.format(folder=folder, port=port, guard=guard.port, certificate=certificate, key=key)
    (folder / "nginx.conf").write_text(config)
    program = Program(need("nginx"), "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf")
    async with program:
        await listening(port)
        yield port


@pytest.mark.parametrize(
    ("origin", "refused"),
    [("https://{}:{}", None), ("http://{}:{}", "origin-denied"), ("https://evil.{}:{}", "origin-denied")],
)
async def test_same_host_behind_tls(
    backend: RecordingBackend, tmp_path: Path, origin: str, refused: str | None
) -> None:
    """The page's own origin is the proxy's, https and its port; an http page of the same name is foreign."""
    need("nginx")
    backend.answer = answers.accept(echo=True)
    authority = Authority(tmp_path)
    async with (
        Guard(backend, {"guard.yaml": CONFIG, "policy.yaml": policy()}) as guard,
        nginx(tmp_path, guard, authority) as port,
    ):
        async with websockets_connect(
            f"wss://{NAME}:{port}/ws",
            host="127.0.0.1",
            port=port,
            ssl=authority.trusting(),
            server_hostname=NAME,
            origin=origin.format(NAME, port),  # type: ignore[arg-type]
            additional_headers={"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "http"},
        ) as socket:
            if refused is None:
                await socket.send("hello")
                assert await socket.recv() == "hello"
            else:
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd is not None
                assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4403, refused)
        decided = await guard.decided()
        assert decided["client_ip"] == "203.0.113.7"
        if refused is None:
            (head,) = backend.upgrades
            assert head.get("x-forwarded-for") == "203.0.113.7, 127.0.0.1, 127.0.0.1"
            assert (head.get("x-forwarded-proto"), head.get("host")) == ("https", f"{NAME}:{port}")
