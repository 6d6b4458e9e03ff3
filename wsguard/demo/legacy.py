"""A chat as many are: it knows its users by their cookie, and checks nothing else.

It never looks at Origin, never looks at a session again once the socket is open, keeps sockets open after a
log-out, and refuses with an HTTP status that no script can read. The guard makes it safe without a change
in here.
"""

from __future__ import annotations

import secrets
import time
from collections import defaultdict, deque
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources import files

import jwt
from aiohttp import WSMsgType, web
from aiohttp.typedefs import Handler

SESSION_COOKIE = "session"
TOKEN_COOKIE = "token"
ISSUER = "legacy-chat"
CLOSED_ROOM = "archive"

_PAGES = files("wsguard.demo") / "pages"
_LONGEST_LOGIN = 8 * 3600.0
_HISTORY = 20


@dataclass(slots=True)
class Room:
    """Who is here, and the last lines said."""

    sockets: set[web.WebSocketResponse] = field(default_factory=set)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_HISTORY))


class Chat:
    """The application: a login page, a chat page, `/ws/{room}` and a log-out.

    `signing_key` (at least 32 bytes) signs the `token` cookie, a JWT with HS256. The `session` cookie
    beside it is an opaque value that only this application can read: whose session it is stands in `users`, which
    replicas share. `greeting` is how the chat begins.
    """

    def __init__(self, signing_key: bytes, *, users: dict[str, str] | None = None, greeting: str = "Welcome") -> None:
        self._signing_key = signing_key
        self._users = {} if users is None else users
        self._greeting = greeting
        self._rooms: defaultdict[str, Room] = defaultdict(Room)

    def application(self) -> web.Application:
        """The aiohttp application that serves it all."""
        app = web.Application(middlewares=[_bearing_with_leavers])
        app.add_routes(
            [
                web.get("/", self._chat_page),
                web.get("/login", self._login_page),
                web.post("/login", self._log_in),
                web.post("/logout", self._log_out),
                web.get("/ws/{room}", self._socket),
            ]
        )
        app.on_shutdown.append(self._close_sockets)
        return app

    async def _chat_page(self, request: web.Request) -> web.Response:
        if self._user(request) is None:
            raise web.HTTPSeeOther("/login")
        return _page("chat.html")

    async def _login_page(self, _request: web.Request) -> web.Response:
        return _page("login.html")

    async def _log_in(self, request: web.Request) -> web.Response:
        form = await request.post()
        name = str(form.get("name", "")).strip()
        if not name.isalnum():
            raise web.HTTPBadRequest(text="A name of letters and digits, please.")
        try:
            lifetime = min(float(str(form.get("lifetime", _LONGEST_LOGIN))), _LONGEST_LOGIN)
        except ValueError:
            raise web.HTTPBadRequest(text="lifetime is a number of seconds.") from None
        session = secrets.token_urlsafe(16)
        self._users[session] = name
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": ISSUER, "sub": name, "iat": now, "exp": now + lifetime}
        response = web.HTTPSeeOther("/")
        for cookie, value in (
            (SESSION_COOKIE, session),
            (TOKEN_COOKIE, jwt.encode(claims, self._signing_key, algorithm="HS256")),
        ):
            # As careful as a cookie can be, and no help: a page on a sibling host is same-site, and a
            # WebSocket needs no permission to carry the cookies of the site it dials.
            response.set_cookie(cookie, value, httponly=True, samesite="Strict", path="/")
        raise response

    async def _log_out(self, request: web.Request) -> web.Response:
        self._users.pop(request.cookies.get(SESSION_COOKIE, ""), None)
        response = web.HTTPSeeOther("/login")
        response.del_cookie(SESSION_COOKIE)
        response.del_cookie(TOKEN_COOKIE)
        raise response

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        name = request.match_info["room"]
        if name == CLOSED_ROOM:
            raise web.HTTPForbidden(text="This room is closed.")
        user = self._user(request) or "a guest"
        room = self._rooms[name]
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        with suppress(ConnectionResetError):  # whoever has left is not greeted
            await socket.send_str(f"{self._greeting}, {user}.")
            for line in room.lines:
                await socket.send_str(line)
            room.sockets.add(socket)
            try:
                async for message in socket:
                    if message.type is WSMsgType.TEXT:
                        await _say(room, f"{user}: {message.data}")
            finally:
                room.sockets.discard(socket)
        return socket

    async def _close_sockets(self, _app: web.Application) -> None:
        for room in self._rooms.values():
            for socket in tuple(room.sockets):
                await socket.close()

    def _user(self, request: web.Request) -> str | None:
        return self._users.get(request.cookies.get(SESSION_COOKIE, ""))


@web.middleware
async def _bearing_with_leavers(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ConnectionResetError:  # of a client that has left, in the middle of its request or before the answer
        return web.Response()


async def _say(room: Room, line: str) -> None:
    room.lines.append(line)
    for socket in tuple(room.sockets):
        if not socket.closed:
            with suppress(ConnectionResetError):  # it is leaving, which is no affair of who speaks
                await socket.send_str(line)


def _page(name: str) -> web.Response:
    return web.Response(text=(_PAGES / name).read_text("utf-8"), content_type="text/html")
