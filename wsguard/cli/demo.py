"""`wsguard demo`: see the problem and the cure, in a browser or told in the terminal."""

from __future__ import annotations

import argparse

from wsguard.cli import UsageError

HELP = "a legacy backend, a login page, an evil site and the guard, one command"
_PORTS = 4
_LAST_FIRST_PORT = 65535 - _PORTS + 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    stories = parser.add_mutually_exclusive_group()
    stories.add_argument(
        "--tour",
        action="store_true",
        help="play the story in the terminal by itself; exit 0 only if every close code was observed",
    )
    stories.add_argument(
        "--deploy",
        action="store_true",
        help="replace version 1 by version 2 under fifty clients; exit 0 only if none of them lost anything",
    )
    parser.add_argument(
        "--port",
        type=int,
        metavar="PORT",
        help="the guard's port; application, evil site and admin port are the next three (default: any). "
        "With --deploy: the balancer's",
    )


def run(args: argparse.Namespace) -> int:
    """Set the stage and play, or serve until Ctrl-C; returns the exit status."""
    if args.port is not None and not 1 <= args.port <= _LAST_FIRST_PORT:
        raise UsageError(f"--port must be from 1 to {_LAST_FIRST_PORT}, not {args.port}")
    import asyncio

    from wsguard.demo.guard import port_problem
    from wsguard.demo.show import show, show_deploy

    if args.port is not None:
        needed = range(args.port, args.port + (1 if args.deploy else _PORTS))
        if problem := port_problem(needed):
            more = "" if args.deploy else f"; it takes the {_PORTS} ports from {args.port} on"
            raise UsageError(f"--port {args.port}: {problem}{more}")
    if args.deploy:
        return asyncio.run(show_deploy(args.port))
    return asyncio.run(show(tour=args.tour, first_port=args.port))
