"""A legacy application as they are: an opaque session cookie, a login page, a logout button, and a `/me`.

In this process, so that a test can make it slow or forgetful. It knows nothing of wsguard; its WebSocket says who the
guard told it that the caller is.
"""

from __future__ import annotations

import secrets

from aiohttp import WSMsgType, web

from tests.support.serving import HttpServer

LOGIN_PAGE = "<form method=post action=/login><input name=user></form>"


class CookieApp(HttpServer):
    """`sessions` holds user names by cookie value; `asked` has the questions to `/me`; `broken`: they get a 500."""

    def __init__(self) -> None:
        self.sessions: dict[str, str] = {}
        self.asked: list[dict[str, str]] = []
        self.broken = False
        app = web.Application()
        app.add_routes(
            [
                web.get("/login", self._login_page),
                web.post("/login", self._login),
                web.post("/logout", self._logout),
                web.get("/me", self._me),
                web.get("/ws", self._ws),
            ]
        )
        super().__init__(web.AppRunner(app, shutdown_timeout=0.2))

    def _user(self, request: web.Request) -> str | None:
        return self.sessions.get(request.cookies.get("sid", ""))

    async def _login_page(self, _: web.Request) -> web.Response:
        return web.Response(text=LOGIN_PAGE, content_type="text/html")

    async def _login(self, request: web.Request) -> web.Response:
        cookie = secrets.token_urlsafe(24)
        self.sessions[cookie] = str((await request.post())["user"])
        answer = web.Response(status=303, headers={"Location": "/"})
        answer.set_cookie("sid", cookie, httponly=True)
        return answer

    async def _logout(self, request: web.Request) -> web.Response:
        self.sessions.pop(request.cookies.get("sid", ""), None)
        answer = web.Response(status=303, headers={"Location": "/login"})
        answer.del_cookie("sid")
        return answer

    async def _me(self, request: web.Request) -> web.Response:
        self.asked.append({name.lower(): value for name, value in request.headers.items()})
        await self.gate.wait()
        if self.broken:
            return web.json_response({"error": "the database is away"}, status=500)
        user = self._user(request)
        if user is None:
            return web.Response(status=302, headers={"Location": "/login"})
        return web.json_response({"user": {"id": user}}, headers={"X-User": user})

    async def _ws(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(f"hello {request.headers.get('X-User')}")
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
        return socket
