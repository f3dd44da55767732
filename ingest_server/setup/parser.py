"""The options of `ingest-server setup`; what it needs is loaded when it is asked for."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from edge_host.command_line import given_path


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    main: Callable[[Sequence[str]], int],
) -> None:
    """Add the command and its options; *main* runs another command of this program."""
    setup = commands.add_parser(
        "setup",
        help="make this machine the server: certificate, configuration, first claim, service (root)",
        description="Makes this machine a server that speaks https, starts it, and prints the one line that each"
        " device needs. It keeps what exists already. Run it again after a failure, to add a name, or to see the"
        " line again. An option that you leave out keeps its last value.",
    )
    setup.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="NAME",
        help="a name or address by which devices reach it, the first in the printed line (default: found out);"
        " may be repeated",
    )
    setup.add_argument("--port", type=int, metavar="N", help="(default: 8443)")
    setup.add_argument("--data-dir", type=given_path, metavar="DIR", help="where recordings go")
    setup.add_argument(
        "--cert-file",
        type=given_path,
        metavar="FILE",
        help="your own certificate with its chain, PEM",
    )
    setup.add_argument("--key-file", type=given_path, metavar="FILE", help="its key")
    setup.add_argument(
        "--ca-file",
        type=given_path,
        metavar="FILE",
        help="the CA that signed it, if devices do not know it",
    )
    setup.add_argument(
        "--devices", type=int, default=10, metavar="N", help="for how many the claim is (10)"
    )
    setup.add_argument(
        "--days", type=int, default=30, metavar="N", help="for how long the claim is good (30)"
    )
    how = setup.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="only say what would be done")
    how.add_argument(
        "--show", action="store_true", help="print the configuration that would be written"
    )
    what = setup.add_mutually_exclusive_group()
    what.add_argument(
        "--undo", action="store_true", help="take back what setup has made; recordings stay"
    )
    what.add_argument(
        "--renew",
        action="store_true",
        help="only renew the certificate, if it is time; for a timer",
    )

    def run(options: argparse.Namespace) -> int:
        from ingest_server.setup.command import setup_server

        return setup_server(options, main)

    setup.set_defaults(command=run)
