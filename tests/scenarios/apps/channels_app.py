"""A Django Channels app that checks nothing: it echoes, and says who the headers claim is there."""

from __future__ import annotations

import django
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["channels"],
    SECRET_KEY="of no consequence",
)
django.setup()


class Echo(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """Greets with the headers it got, then echoes JSON."""

    async def connect(self) -> None:
        """Accept everyone, with the first subprotocol they offer."""
        await self.accept(next(iter(self.scope["subprotocols"]), None))
        headers = {name.decode(): value.decode("latin-1") for name, value in self.scope["headers"]}
        await self.send_json({"headers": headers, "path": self.scope["raw_path"].decode()})

    async def receive_json(self, content: object) -> None:
        """Echo."""
        await self.send_json(content)


def page(request: HttpRequest) -> HttpResponse:
    """Any page."""
    return HttpResponse(f"the page at {request.path}")


urlpatterns = [re_path("", page)]
application = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": URLRouter([path("ws", Echo.as_asgi())])})
