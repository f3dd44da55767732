"""The options of `edge-agent setup`; what it needs is loaded when it is asked for."""

from __future__ import annotations

import argparse

from edge_host.command_line import given_path


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    setup = commands.add_parser(
        "setup",
        help="make this machine a device: configuration, token, access to the folder, service (root)",
        description="Makes this machine a device of a server, and starts the agent. `ingest-server setup` prints the"
        " command with its options. It keeps what exists already. Run it again after a failure. An option that"
        " you leave out keeps its last value.",
    )
    setup.add_argument("--server", metavar="URL", help="https://HOST:PORT")
    setup.add_argument("--folder", type=given_path, metavar="DIR", help="where the camera writes")
    setup.add_argument("--device-id", metavar="NAME", help="(default: after this machine's name)")
    ca = setup.add_mutually_exclusive_group()
    ca.add_argument(
        "--ca-sha256",
        metavar="HEX",
        help="the fingerprint of the server's own CA, which is then fetched",
    )
    ca.add_argument("--ca-file", type=given_path, metavar="FILE", help="the CA itself, in PEM form")
    claim = setup.add_mutually_exclusive_group()
    claim.add_argument(
        "--claim", metavar="TOKEN", help="the claim token; - reads it from standard input"
    )
    claim.add_argument("--claim-file", type=given_path, metavar="FILE", help="a file that holds it")
    setup.add_argument(
        "--delete",
        action=argparse.BooleanOptionalAction,
        help="recordings go once the server has verified them",
    )
    setup.add_argument(
        "--read-everything",
        action=argparse.BooleanOptionalAction,
        help="read files whatever their modes say (CAP_DAC_READ_SEARCH; docs/install.md says what that means)",
    )
    how = setup.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="only say what would be done")
    how.add_argument(
        "--show", action="store_true", help="print the configuration that would be written"
    )
    setup.add_argument(
        "--undo", action="store_true", help="take back what setup has made; recordings stay"
    )
    setup.set_defaults(command=_setup)


def _setup(options: argparse.Namespace) -> int:
    from edge_agent.setup.command import setup_device

    return setup_device(options)
