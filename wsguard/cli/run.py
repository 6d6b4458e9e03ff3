"""`wsguard run`: the guard itself."""

from __future__ import annotations

import argparse
import os

from wsguard.cli import UsageError

HELP = "guard a backend"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments. Flags beat the environment, which beats the GuardConfig."""
    policies = os.environ.get("WSGUARD_POLICY")
    parser.add_argument(
        "--policy",
        action="append",
        metavar="PATH",
        help="a policy file or a folder of them, watched and reloaded (environment: WSGUARD_POLICY, several joined by "
        f"{os.pathsep}; default: one policy for every path, SameHost Origin, no credential)",
    )
    parser.set_defaults(policies_of_environment=policies.split(os.pathsep) if policies else [])
    for flag, metavar, what in (
        ("backend", "URL", "the backend, such as http://127.0.0.1:3000 or unix:///run/app.sock"),
        ("listen", "HOST:PORT", "the public port, or unix:/PATH (default: 127.0.0.1:8080)"),
        ("admin", "HOST:PORT", "probes and metrics (default: 127.0.0.1:9090)"),
        ("control", "SOCKET", "the control socket; none: there is none"),
    ):
        variable = f"WSGUARD_{flag.upper()}"
        parser.add_argument(
            f"--{flag}", metavar=metavar, default=os.environ.get(variable), help=f"{what} (environment: {variable})"
        )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM; returns 0 after a clean drain, 2 where the guard cannot start. Raises UsageError."""
    import asyncio
    from pathlib import Path

    import uvloop

    from wsguard.app import Guard
    from wsguard.config.store import ConfigError
    from wsguard.ops.control_path import OFF, ControlSocketError, default_path
    from wsguard.policy.overrides import Overrides
    from wsguard.rooms import Settings
    from wsguard.startup import StartError

    try:
        overrides = Overrides.parse(args.listen, args.admin, args.backend)
    except ValueError as error:
        raise UsageError(str(error)) from None
    control = None if args.control == OFF else Path(args.control) if args.control else default_path(os.environ)
    settings = Settings(tuple(map(Path, args.policy or args.policies_of_environment)), overrides, control)

    async def serve() -> None:
        await Guard(settings).run()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())
    except (ConfigError, StartError, ControlSocketError) as error:
        raise UsageError(str(error)) from None
    return 0
