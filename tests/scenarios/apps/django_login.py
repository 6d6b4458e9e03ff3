"""Django's own sessions and log-in, as its tutorial has them, and a Channels consumer; none of it knows of wsguard.

Logging in gives the visitor's session another key, and so does changing the password; logging out clears the cookie.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import django
from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.middleware.csrf import get_token
from django.urls import path
from django.views.decorators.http import require_POST

_HOME = tempfile.TemporaryDirectory(prefix="wsguard-django-")

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(_HOME.name) / "db.sqlite3"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "channels"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of no consequence",
)
django.setup()

from django.contrib.auth import authenticate, login, logout, update_session_auth_hash  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402

call_command("migrate", verbosity=0)
for name in ("ann", "bob"):
    User.objects.create_user(name, password=f"{name}'s")

_PAGE = """<!doctype html><title>{user}</title>
<form method=post action=/login><input name=user value=ann><input name=password value="ann's">{token}
<button id=login>Log in</button></form>
<form method=post action=/logout>{token}<button id=logout>Log out</button></form>"""


def page(request: HttpRequest) -> HttpResponse:
    """Any page; it begins a session for everyone who comes by."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    token = f'<input type=hidden name=csrfmiddlewaretoken value="{get_token(request)}">'
    return HttpResponse(_PAGE.format(user=request.user.get_username() or "nobody", token=token))


def log_in(request: HttpRequest) -> HttpResponse:
    """The session goes on under a new key."""
    user = authenticate(request, username=request.POST["user"], password=request.POST["password"])
    if user is None:
        return HttpResponse("who?", status=403)
    login(request, user)
    return HttpResponseRedirect("/")


@require_POST  # type: ignore[untyped-decorator]
def log_out(request: HttpRequest) -> HttpResponse:
    """The session is flushed, and the middleware clears the cookie."""
    logout(request)
    return HttpResponseRedirect("/bye")


def change_password(request: HttpRequest) -> HttpResponse:
    """The other sessions of the user are over; this one goes on under a new key."""
    request.user.set_password(request.POST["password"])
    request.user.save()
    update_session_auth_hash(request, request.user)
    return HttpResponse("done")


def me(request: HttpRequest) -> HttpResponse:
    """Who is there."""
    name = request.user.get_username()
    return JsonResponse({"user": name}, status=200 if name else 401)


class Echo(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Greets whom Django's session names, then echoes."""

    async def connect(self) -> None:
        """Accept everyone."""
        await self.accept()
        await self.send(f"hello {await database_sync_to_async(self.scope['user'].get_username)()}")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Echo."""
        await self.send(text_data, bytes_data)


urlpatterns = [
    path("", page),
    path("bye", lambda _: HttpResponse("<!doctype html><title>bye</title>")),
    path("login", log_in),
    path("logout", log_out),
    path("password", change_password),
    path("me", me),
]
application = ProtocolTypeRouter(
    {"http": get_asgi_application(), "websocket": AuthMiddlewareStack(URLRouter([path("ws", Echo.as_asgi())]))}
)
