"""The proxies that are compared: how each is found, started in front of the backend, and seen to be ready."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jwt

from benchmarks.native import BenchmarkError
from benchmarks.processes import Process, split_cores

CONFIGS = Path(__file__).parent / "configs"
ORIGIN = "https://app.example.com"
SECRET = secrets.token_hex(32).encode()  # signs the tokens of this run
READY_WITHIN = 30.0  # seconds
_PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin"))


@dataclass(frozen=True, slots=True)
class Site:
    """Where one proxy runs: a folder, its port on 127.0.0.1, the backend's, and its buffers."""

    folder: Path
    port: int
    backend_port: int
    tuned: bool

    @property
    def listen(self) -> str:
        """Where the proxy listens."""
        return f"127.0.0.1:{self.port}"

    @property
    def backend(self) -> str:
        """Where the backend listens."""
        return f"127.0.0.1:{self.backend_port}"

    def write(self, name: str, buffer: str = "") -> str:
        """Copy configs/`name` into the folder, its @WORDS@ replaced; returns the path of the copy."""
        words = {
            "LISTEN": self.listen,
            "LISTEN_PORT": str(self.port),
            "BACKEND": self.backend,
            "BACKEND_PORT": str(self.backend_port),
            "FOLDER": str(self.folder),
            "BUFFER": buffer,
        }
        text = re.sub(r"@([A-Z_]+)@", lambda found: words[found[1]], (CONFIGS / name).read_text())
        copy = self.folder / name
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(text)
        return str(copy)


@dataclass(frozen=True, slots=True)
class Peer:
    """One proxy. `command` writes its configuration and tells how it is run."""

    name: str
    command: Callable[[Site], Sequence[str]]
    missing: Callable[[], str | None]
    version: Callable[[], str]
    environment: Mapping[str, str] = field(default_factory=dict)
    tunable: bool = False  # runs with stock buffers, or tuned ones of 64 KiB


def _program(name: str) -> str:
    return shutil.which(name, path=_PATH) or name


def _no_program(name: str) -> Callable[[], str | None]:
    return lambda: None if shutil.which(name, path=_PATH) else f"there is no program {name}"


def _said(pattern: str, *command: str) -> Callable[[], str]:
    """The version in what `command` prints."""

    def ask() -> str:
        program, *options = command
        done = subprocess.run([_program(program), *options], capture_output=True, text=True, check=True)
        found = re.search(pattern, done.stdout + done.stderr)
        return found[1] if found else "unknown"

    return ask


def _nginx(site: Site) -> Sequence[str]:
    config = site.write("nginx.conf", buffer="64k" if site.tuned else "4k")
    return (_program("nginx"), "-p", str(site.folder), "-e", "stderr", "-c", config)


def _haproxy(site: Site) -> Sequence[str]:
    config = site.write("haproxy.cfg", buffer="65536" if site.tuned else "16384")
    return (_program("haproxy"), "-db", "-f", config)


def _envoy(site: Site) -> Sequence[str]:
    options = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "error")
    return (_program("envoy"), *options, "-c", site.write("envoy.yaml"))


def _traefik(site: Site) -> Sequence[str]:
    site.write("traefik-routes.yaml")
    return (_program("traefik"), f"--configFile={site.write('traefik.yaml')}")


def _aiohttp(site: Site) -> Sequence[str]:
    return (sys.executable, "-m", "benchmarks.aiohttp_relay", site.listen, site.backend)


def _wsguard(site: Site) -> Sequence[str]:
    policies = Path(site.write("wsguard/policy.yaml")).parent
    (site.folder / "secret.key").write_bytes(SECRET)
    places = ("--listen", site.listen, "--backend", f"http://{site.backend}")
    control = ("--admin", f"127.0.0.1:{free_port()}", "--control", "none")
    return (sys.executable, "-m", "wsguard", "run", "--policy", str(policies), *places, *control)


def _no_python(module: str) -> Callable[[], str | None]:
    return lambda: None if importlib.util.find_spec(module) else f"there is no Python package {module}"


def _package(name: str) -> Callable[[], str]:
    return lambda: importlib.metadata.version(name)


_OWN_CODE = {"PYTHONPATH": str(Path(__file__).parents[1])}
_NGINX = _said(r"nginx/(\S+)", "nginx", "-v")
_HAPROXY = _said(r"version ([\d.]+)", "haproxy", "-v")
_ENVOY = _said(r"/([\d.]+)/", "envoy", "--version")
_TRAEFIK = _said(r"Version:\s+(\S+)", "traefik", "version")

PEERS = {
    peer.name: peer
    for peer in (
        Peer("wsguard", _wsguard, _no_python("wsguard"), _package("wsguard"), environment=_OWN_CODE),
        Peer("nginx", _nginx, _no_program("nginx"), _NGINX, tunable=True),
        Peer("HAProxy", _haproxy, _no_program("haproxy"), _HAPROXY, tunable=True),
        Peer("Envoy", _envoy, _no_program("envoy"), _ENVOY),
        Peer("Traefik", _traefik, _no_program("traefik"), _TRAEFIK, environment={"GOMAXPROCS": "1"}),
        Peer("aiohttp relay", _aiohttp, _no_python("aiohttp"), _package("aiohttp"), environment=_OWN_CODE),
    )
}


def handshake_headers() -> list[str]:
    """What a browser with a session sends along, to every proxy alike: Origin, and a cookie with a token."""
    now = int(time.time())
    claims: dict[str, str | int] = {
        "iss": "https://idp.example.com",
        "aud": "benchmark",
        "sub": "alice",
        "iat": now,
        "exp": now + 7200,
    }
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    return [f"Origin: {ORIGIN}", f"Cookie: theme=dark; session={token}"]


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextlib.contextmanager
def running(peer: Peer, folder: Path, backend_port: int, *, tuned: bool) -> Iterator[tuple[Process, int]]:
    """`peer` in front of the backend, ready to be used; yields its process and port.

    Raises BenchmarkError with what it printed where it does not get ready.
    """
    folder.mkdir(parents=True)
    site = Site(folder, free_port(), backend_port, tuned)
    process = Process(peer.command(site), cores=split_cores()[0], folder=folder, environment=peer.environment)
    try:
        _wait_until_ready(peer, process, site.port)
        yield process, site.port
    finally:
        process.end()


def _wait_until_ready(peer: Peer, process: Process, port: int) -> None:
    """A port that listens is not enough: some proxies know no route at first. A good handshake is."""
    until = time.monotonic() + READY_WITHIN
    answer = "nothing"
    while time.monotonic() < until and not process.ended:
        with contextlib.suppress(OSError):
            answer = _try_handshake(port)
            if answer.startswith("HTTP/1.1 101"):
                return
        time.sleep(0.05)
    raise BenchmarkError(f"{peer.name} did not get ready: it answered {answer!r} and printed:\n{process.log()}")


def _try_handshake(port: int) -> str:
    fields = [
        "GET /ws HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: d3NndWFyZCBiZW5jaG1hcg==",
        *handshake_headers(),
    ]
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall("\r\n".join([*fields, "", ""]).encode())
        return connection.recv(200).decode("latin-1").partition("\r\n")[0]
