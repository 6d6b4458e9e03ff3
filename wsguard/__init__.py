"""wsguard: a reverse-proxy sidecar that guards an existing WebSocket backend from outside."""

__version__ = "0.1.0"
