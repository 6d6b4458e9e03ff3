"""Knocks at HOST PORT PATH as a foreign page would: exit 0 where a guard refuses it, 1 where it does not.

Standard library only, since it runs in the guard's image.
"""

from __future__ import annotations

import socket
import sys

_LONGEST = 65_536
_FOREIGN = ("origin-denied", "host-denied", "forbidden")  # the last where rejection.detail is Coarse
_BY_STATUS = ("403", "421")  # where rejection.mode is HTTPStatus
_PATIENCE = 2.0  # seconds after a 101: a guard sends the Close along with it
_REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: https://foreign-page.invalid\r\n"
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: d3NndWFyZCBrbm9ja3MhIQ==\r\n\r\n"
)


def knock(host: str, port: int, path: str) -> str | None:
    """What is wrong, as a sentence; None where the guard refused. Raises OSError where nobody answers."""
    with socket.create_connection((host, port), timeout=10) as connection:
        connection.sendall(_REQUEST.format(path=path, host=host).encode("ascii"))
        answer = b""
        while b"\r\n\r\n" not in answer and len(answer) < _LONGEST and (data := connection.recv(4096)):
            answer += data
        head, _, frames = answer.partition(b"\r\n\r\n")
        status = head.split(b" ", 2)[1].decode("ascii", "replace") if head.startswith(b"HTTP/1.1 ") else "no HTTP"
        if status != "101":
            return None if status in _BY_STATUS else f"the answer was {status}, a refusal was expected"
        frames += _first_frame(connection, frames)
    if len(frames) < 4 or frames[0] != 0x88:  # RFC 6455, section 5.5.1: a whole Close frame
        return "a foreign page was let in: look at origin.allowOrigins of the policy for this path"
    code, reason = int.from_bytes(frames[2:4], "big"), frames[4:].decode("utf-8", "replace")
    if reason not in _FOREIGN:
        return f"the handshake was refused, but not as a foreign one: {code} {reason}"
    print(f"refused, as it should be: {code} {reason}")
    return None


def _first_frame(connection: socket.socket, begun: bytes) -> bytes:
    """What comes until a Close frame with a code could be read; less where a backend sits and waits for us."""
    received = b""
    connection.settimeout(_PATIENCE)
    try:
        while len(begun + received) < 4 and (data := connection.recv(4096)):
            received += data
    except TimeoutError:
        pass
    return received


if __name__ == "__main__":
    try:
        problem = knock(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    except OSError as error:
        problem = f"no answer from {sys.argv[1]}:{sys.argv[2]}: {error}"
    sys.exit(problem)
