"""Where to listen or dial, if that is a path: Unix sockets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from wsguard.policy.fields import HostPort
from wsguard.policy.model_base import read_as, shorten

_MOST_OF_A_PATH = 107  # bytes of a Unix socket's path on Linux (unix(7)), less the zero behind it


@dataclass(frozen=True, slots=True)
class SocketPath:
    """A Unix socket to listen on or dial, by its absolute path."""

    path: str

    @classmethod
    def parse(cls, text: str) -> SocketPath:
        """`unix:/run/app.sock` or `unix:///run/app.sock`; raises ValueError for anything else."""
        scheme, _, rest = text.partition(":")
        path = rest[2:] if rest.startswith("//") else rest
        if scheme.lower() != "unix" or not path.startswith("/") or path.endswith("/") or not path.isprintable():
            raise ValueError(f'expected unix:/PATH with an absolute path, found "{shorten(text)}"')
        if len(path.encode()) > _MOST_OF_A_PATH:
            raise ValueError(f"the path of a Unix socket has at most {_MOST_OF_A_PATH} bytes")
        return cls(path)

    @property
    def is_loopback(self) -> bool:
        """False: whoever serves others through the socket passes on any Host that they ask for."""
        return False

    def __str__(self) -> str:
        return f"unix:{self.path}"


def parse_listen_address(text: str) -> HostPort | SocketPath:
    """`HOST:PORT` or `unix:/PATH`; raises ValueError for anything else."""
    return SocketPath.parse(text) if text.lower().startswith("unix:/") else HostPort.parse(text)


ListenAddress = Annotated[
    HostPort | SocketPath,
    *read_as(HostPort | SocketPath, parse_listen_address, "HOST:PORT such as 127.0.0.1:8080, or unix:/PATH"),
]
