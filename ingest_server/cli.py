"""What ``ingest-server`` does when it is called: the program, and `run`.

Exit codes: 0 done (SIGTERM too), 1 failed, 2 usage, 78 configuration (EX_CONFIG).
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import threading
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import structlog

from edge_host.clock import SystemClock
from edge_host.command_line import EXIT_CONFIG, EXIT_DONE, EXIT_FAILED, Program, given_path
from edge_host.errors import ConfigError
from edge_host.logs import speak_in_lines
from edge_host.setup.errors import SetupError
from edge_host.startup import next_signal, opening
from edge_host.systemd import Notifier, watch
from edge_host.version import own_version
from ingest_server import logs
from ingest_server.assembly.allocator import give_memory_back, spare_what_is_here
from ingest_server.assembly.command_data import CommandData, make_folder
from ingest_server.config import DEFAULT_PATH
from ingest_server.core.errors import Refused, ServerError, SettingError, StateLostError
from ingest_server.operate.abort import AbortCommand
from ingest_server.operate.broker import BrokerCommands
from ingest_server.operate.check import CheckCommand
from ingest_server.operate.claims import ClaimCommands
from ingest_server.operate.device_events import EventsCommand
from ingest_server.operate.devices import DevicesCommand
from ingest_server.operate.fetch import FetchCommand
from ingest_server.operate.groups import GroupCommands
from ingest_server.operate.migrate import MigrateCommand
from ingest_server.operate.prune import PruneCommand
from ingest_server.operate.restore import RestoreCommand
from ingest_server.operate.tokens import TokenCommands
from ingest_server.operate.uploads import UploadCommands
from ingest_server.operate.users import UserCommands
from ingest_server.operate.verify import VerifyCommand
from ingest_server.operate.webhooks import WebhookCommands
from ingest_server.setup import parser as setup

if TYPE_CHECKING:
    from ingest_server.server import IngestServer

log = structlog.get_logger()

PROGRAM = Program(
    "ingest-server",
    exit_codes={
        ConfigError: EXIT_CONFIG,
        SettingError: EXIT_CONFIG,
        StateLostError: EXIT_CONFIG,
        ServerError: EXIT_FAILED,
        Refused: EXIT_FAILED,
        SetupError: EXIT_FAILED,
    },
    libraries=frozenset({"falcon", "cheroot"}),
    missing="{library} is not installed. Run in the project's folder: pip install '.[server]'",
    # Else a line of the log stands in what a command prints for programs: a token, or JSON.
    prepare=partial(logs.configure, level="warning", form="console"),
)
_BEGINS = (
    "this folder was not there: the server begins without uploads and without tokens. If it has run before, "
    "its data is elsewhere: look at [server] data_dir"
)
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
SIGNALS = STOP_SIGNALS | {signal.SIGHUP}

_COMMANDS = (
    TokenCommands,
    ClaimCommands,
    WebhookCommands,
    BrokerCommands,
    UserCommands,
    UploadCommands,
    GroupCommands,
    DevicesCommand,
    EventsCommand,
    FetchCommand,
    AbortCommand,
    PruneCommand,
    CheckCommand,
    VerifyCommand,
    RestoreCommand,
    MigrateCommand,
)
"""As `--help` lists them."""
_DATA = CommandData(PROGRAM.complain)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    return PROGRAM.run(command_parser(), argv)


def command_parser() -> argparse.ArgumentParser:
    """Return the program's commands and options, for its manual and completion too."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config",
        type=given_path,
        metavar="FILE",
        help=f"TOML file (default: {DEFAULT_PATH}, if any)",
    )
    common.add_argument(
        "--data-dir", type=given_path, metavar="DIR", help="overrides [server] data_dir"
    )
    parser = argparse.ArgumentParser(
        prog=PROGRAM.name,
        description="Takes resumable uploads of recordings from devices in the field.",
        epilog="Each key of the configuration is also an environment variable, such as "
        "INGEST_SERVER_SERVER__LISTEN for [server] listen. Exit codes: 0 done, 1 failed, "
        "2 usage, 78 configuration.",
    )
    parser.add_argument("--version", action="version", version=own_version())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run", parents=[common], help="serve until SIGTERM; SIGHUP reloads the configuration"
    )
    run.add_argument("--listen", metavar="ADDRESS", help="127.0.0.1:8080, [::]:8080 or unix:PATH")
    run.set_defaults(command=_run)

    for kind in _COMMANDS:
        kind(_DATA).add_parsers(commands, common)
    setup.add_parser(commands, main)
    return parser


def _run(options: argparse.Namespace) -> int:
    config = _DATA.config(options)
    from ingest_server.server import IngestServer  # needs the [server] extra

    give_memory_back()
    # Before any thread starts, so that all inherit it and the signals wait for `_wait`.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    logs.configure(level=config.log.level, form=config.log.format)
    speak_in_lines(config.log.format)
    if _DATA.has_no_file(options):
        log.info("config.defaults", path=str(DEFAULT_PATH), error="no such file; built-in defaults")
    _raise_descriptor_limit()
    notifier = Notifier.from_environ(os.environ, pid=os.getpid())
    is_new = make_folder(config.server.data_dir)
    with opening(STOP_SIGNALS):
        server = IngestServer(config)
        server.start()
    if is_new:
        log.info("data_dir.new", path=str(config.server.data_dir), detail=_BEGINS)
    spare_what_is_here()
    return _serve(server, options, notifier)


def _raise_descriptor_limit() -> None:
    """Take as many descriptors as we may: each connection and each upload needs one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _serve(server: IngestServer, options: argparse.Namespace, notifier: Notifier) -> int:
    ended = threading.Event()
    feeder = threading.Thread(
        target=watch, args=(notifier, server.is_alive, ended), name="watchdog", daemon=True
    )
    feeder.start()
    status = f"listening on {server.address}"
    notifier.ready(status)
    while not server.failed.is_set():
        found = next_signal(SIGNALS, 1.0)
        if found is None:
            continue
        if found != signal.SIGHUP:
            break
        notifier.reloading(SystemClock().now_s())
        _reload(server, options)
        notifier.ready(status)
    drain_s = server.config.server.drain_s
    if drain_s and not server.failed.is_set():
        notifier.stopping("waiting until no balancer sends anybody")
        server.leave()
        next_signal(STOP_SIGNALS, drain_s)  # a second one ends it
    notifier.stopping("finishing running uploads")
    # A second signal ends the process at once: an operator who presses Ctrl-C twice means it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    server.stop()
    ended.set()
    feeder.join(1.0)
    return EXIT_FAILED if server.failed.is_set() else EXIT_DONE


def _reload(server: IngestServer, options: argparse.Namespace) -> None:
    try:
        config = _DATA.config(options)
    except ConfigError as error:
        log.error("config.rejected", error=error.problems, kept="the running configuration")  # noqa: TRY400 # no traceback for an operator's typo
        return
    try:
        pending = server.reload(config)
    except ServerError as error:
        log.error("config.rejected", error=[str(error)], kept="the running configuration")  # noqa: TRY400 # as above
        return
    logs.configure(level=config.log.level, form=config.log.format)
    log.info("config.reloaded", needs_restart=pending)
