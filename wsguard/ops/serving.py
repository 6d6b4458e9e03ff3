"""How the admin port and the control socket are served."""

from __future__ import annotations

from aiohttp import web

_IDLE = 15.0  # seconds a connection may say nothing, in the middle of a head as well
_LAST_ANSWERS = 1.0  # seconds for answers under way when the guard ends


def runner(app: web.Application) -> web.AppRunner:
    """A runner that forgets a request whose client left, so that no waiter's place is held by nobody.

    No access log: requests are probes, scrapes and an operator's, and what those change is logged as such.
    """
    app.on_response_prepare.append(_prepare)
    return web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=_IDLE,
        shutdown_timeout=_LAST_ANSWERS,
    )


async def serve(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Listen on TCP; ends with the runner's `cleanup()`. Raises OSError where the address cannot be had."""
    served = runner(app)
    await served.setup()
    try:
        await web.TCPSite(served, host, port).start()
    except OSError:
        await served.cleanup()
        raise
    return served


async def _prepare(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "wsguard"  # in place of the versions of Python and aiohttp
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
