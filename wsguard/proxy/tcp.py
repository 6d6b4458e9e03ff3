"""What TCP itself is asked to do about peers that vanish, and what it knows of them.

The values are fixed: they are the net under `keepAlive`, and hold for connections whose policy pings nobody.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Protocol

from wsguard.sessions.keepalive import Wire

GONE = 300
"""Seconds after which TCP gives up a peer that acknowledges nothing, or that has closed its window for so long."""

_OPTIONS = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (
            ("TCP_KEEPIDLE", 60),  # seconds without a byte; what is between forgets a silent connection in minutes
            ("TCP_KEEPINTVL", 30),
            ("TCP_KEEPCNT", 8),
            ("TCP_USER_TIMEOUT", GONE * 1000),  # milliseconds; and unlike the count, it holds for data as well
        )
        if hasattr(socket, name)  # Linux has them all
    ),
]

# Of Linux's struct tcp_info: tcpi_retransmits is a byte, the others are 32 bits in the machine's order.
_TCP_INFO = getattr(socket, "TCP_INFO", None)
_RETRANSMITS, _UNACKED, _LAST_ACK_RECV, _NOTSENT_BYTES, _SIZE = 2, 24, 56, 144, 148


class Socket(Protocol):
    """A socket, or what stands for one in uvloop."""

    @property
    def family(self) -> int:
        """Its address family."""
        ...

    def fileno(self) -> int:
        """Its descriptor."""
        ...


def keep(sock: Socket) -> None:
    """Let TCP find out whether the peer of `sock` is there. Of a listening one, whoever it accepts inherits this.

    A Unix socket needs none of it.
    """
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    same = socket.socket(sock.family, socket.SOCK_STREAM, fileno=sock.fileno())  # uvloop's makes one an option
    try:
        for level, option, value in _OPTIONS:
            same.setsockopt(level, option, value)
    finally:
        same.detach()


def wire(transport: asyncio.Transport) -> Wire:
    """What TCP knows of the peer; of a Unix socket, and where the system does not say, only whether something waits."""
    waits = transport.get_write_buffer_size() > 0
    sock = transport.get_extra_info("socket")
    if _TCP_INFO is None or sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return Wire(0.0, waits)
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _SIZE)
    except OSError:
        return Wire(0.0, waits)
    if len(info) < _SIZE:
        return Wire(0.0, waits)
    in_flight = _number(info, _UNACKED)
    again = in_flight and info[_RETRANSMITS]  # without this, it may have been sent just now
    return Wire(
        _number(info, _LAST_ACK_RECV) / 1000 if again else 0.0,
        bool(waits or in_flight or _number(info, _NOTSENT_BYTES)),
    )


def _number(info: bytes, offset: int) -> int:
    return int(struct.unpack_from("=I", info, offset)[0])
