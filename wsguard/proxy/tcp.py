"""What TCP itself is asked to do about peers that vanish, and what it knows of them.

The values are fixed, but for the patience with a peer that may pause for long: they are the net under `keepAlive`, and
hold for connections whose policy pings nobody.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from collections.abc import Iterable
from enum import Enum
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

_LONGEST = 2**31 - 1  # milliseconds: it is an int

# Of Linux's struct tcp_info: tcpi_retransmits is a byte, the others are 32 bits in the machine's order.
_TCP_INFO = getattr(socket, "TCP_INFO", None)
_RETRANSMITS, _UNACKED, _LAST_ACK_RECV, _NOTSENT_BYTES, _SIZE = 2, 24, 56, 144, 148


_FIN = getattr(select, "POLLRDHUP", 0)


class Presence(Enum):
    """What is known of a peer that is not being read."""

    HERE = "here"
    LEAVING = "leaving"  # its FIN has come: it may still read
    GONE = "gone"  # its reset has


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
    _set(sock, _OPTIONS)


def bear(transport: asyncio.Transport, pause: float) -> None:
    """Let TCP give up the peer of `transport` `pause` seconds later: it may leave its window closed for so long.

    TCP counts from the last byte that the peer took, which is before the guard has anything to wait with.
    """
    sock = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if sock is not None and option is not None and sock.fileno() >= 0:
        _set(sock, [(socket.IPPROTO_TCP, option, min(round((GONE + pause) * 1000), _LONGEST))])


def _set(sock: Socket, options: Iterable[tuple[int, int, int]]) -> None:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    same = socket.socket(sock.family, socket.SOCK_STREAM, fileno=sock.fileno())  # uvloop's makes one an option
    try:
        for level, option, value in options:
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


def presence(transport: asyncio.Transport) -> Presence:
    """Whether the peer is there, of which asyncio tells only who reads."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return Presence.HERE
    poll = select.poll()
    poll.register(sock.fileno(), _FIN)
    events = sum(event for _, event in poll.poll(0))
    if events & (select.POLLHUP | select.POLLERR):
        return Presence.GONE
    return Presence.LEAVING if events & _FIN else Presence.HERE


def _number(info: bytes, offset: int) -> int:
    return int(struct.unpack_from("=I", info, offset)[0])
