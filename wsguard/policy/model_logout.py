"""The part of a WebSocketPolicy on log-outs of the application itself, seen in passing."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from wsguard.policy.fields import Text, plain_path, token
from wsguard.policy.model_base import Model, shorten, unique


def _upper(method: str) -> str:
    if method != method.upper():
        raise ValueError(f'"{shorten(method)}" is sent by nobody: a method is compared with case, {method.upper()}')
    return method


class LogoutRequest(Model):
    """One request by which a user logs out."""

    method: Annotated[str, *token("a method such as POST"), AfterValidator(_upper)]
    """Its method, in upper case. One that only reads, such as GET, ends nothing by itself."""
    path: Annotated[Text, AfterValidator(plain_path)]
    """Its path: percent-decoded, compared as a whole and with case, without the query."""


class LogoutDetection(Model):
    """How the application's own answers show that a session has ended."""

    cookies: tuple[Annotated[str, *token("the name of a cookie")], ...] = Field(min_length=1, max_length=10)
    """The session cookies: an answer that clears one ends the sockets that came with the value it had."""
    requests: tuple[LogoutRequest, ...] = Field(default=(), min_length=1, max_length=100)
    """Requests whose success (2xx or 3xx) ends the session, for applications that clear no cookie."""

    @field_validator("cookies")
    @classmethod
    def _named_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unique(value, "cookies")
        return value
