"""Policy files as text."""

from __future__ import annotations


def policy(name: str = "chat", spec: str = "{}") -> str:
    """A policy with this `spec`, in flow style."""
    return f"apiVersion: wsguard.dev/v1\nkind: WebSocketPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def guard(spec: str = "{}") -> str:
    """A GuardConfig with this `spec`, in flow style."""
    return f"apiVersion: wsguard.dev/v1\nkind: GuardConfig\nspec: {spec}\n"


def with_secret(file: str, name: str = "chat", algorithm: str = "HS256") -> str:
    """A policy whose tokens are verified with the secret in `file`."""
    provider = f"name: p, issuer: i, audiences: [a], algorithms: [{algorithm}], localSecretFile: '{file}'"
    return policy(name, f"{{jwt: {{providers: [{{{provider}}}]}}}}")
