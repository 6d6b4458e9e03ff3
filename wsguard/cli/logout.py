"""`wsguard logout`: end a session, a subject's sessions or a token, on one running guard."""

from __future__ import annotations

import argparse

from wsguard.cli import UsageError
from wsguard.cli._arguments import add_control_argument

HELP = "cut the connections of a session, a subject or a token, and keep it out"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--subject", help="every token of this subject that was issued before now")
    which.add_argument("--sid", help="every token of this session")
    which.add_argument("--jti", help="this token")
    which.add_argument("--cookie", choices=["-"], help="the session cookie whose value is read from standard input")
    parser.add_argument("--issuer", help="who issued it; needed where the policies trust several")
    parser.add_argument(
        "--issued-before",
        type=float,
        metavar="SECONDS",
        help="with --subject: spare tokens issued at or after this moment (seconds since the epoch)",
    )
    add_control_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Log out; returns the exit status."""
    from wsguard.cli._control import Guard
    from wsguard.cli._input import standard_input

    cookie = None
    if args.cookie is not None:  # a secret: never in a command line
        try:
            cookie = standard_input("strict").readline().strip()
        except UnicodeDecodeError:  # the control API speaks JSON, which has no other bytes
            raise UsageError("--cookie -: standard input must be UTF-8; name the session by its sid") from None
    body = {
        "subject": args.subject,
        "sid": args.sid,
        "jti": args.jti,
        "cookie": cookie,
        "issuer": args.issuer,
        "issuedBefore": args.issued_before,
    }
    answer = Guard(args.control).post("/v1/logout", body)
    closed = answer["closed"]
    later = "" if answer.get("stored", True) else " here; the other replicas are told when the stream is back"
    print(f"closed {closed} connection{'' if closed == 1 else 's'}{later}")
    return 0
