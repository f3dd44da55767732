"""What ``ingest-server`` does when it is called: the program, `run` and `verify`.

Exit codes: 0 done (SIGTERM too), 1 failed, 2 usage, 78 configuration (EX_CONFIG).
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from edge_host.clock import SystemClock
from edge_host.command_line import EXIT_CONFIG, EXIT_DONE, EXIT_FAILED, Program
from edge_host.errors import ConfigError
from edge_host.logs import speak_in_lines
from edge_host.setup.errors import SetupError
from edge_host.startup import next_signal, opening
from edge_host.systemd import Notifier, watch
from edge_host.version import own_version
from ingest_server import logs
from ingest_server.assembly.bytes_place import look_at_blobs
from ingest_server.assembly.data_folder import FLEET, open_facts
from ingest_server.config import DEFAULT_PATH, ServerConfig, load
from ingest_server.core.errors import Refused, ServerError, SettingError, StateLostError
from ingest_server.operate import restore
from ingest_server.operate.access import AccessCommands
from ingest_server.operate.check import CheckCommand
from ingest_server.operate.devices import DeviceCommands
from ingest_server.operate.groups import GroupCommands
from ingest_server.operate.room import RoomCommands
from ingest_server.operate.text import shown
from ingest_server.operate.uploads import UploadCommands
from ingest_server.operate.users import UserCommands
from ingest_server.operate.webhooks import WebhookCommands
from ingest_server.setup import parser as setup
from ingest_server.storage.files.published import PUBLISHED
from ingest_server.storage.interface import Blobs, FleetStore, StateStore
from ingest_server.storage.sqlite.fleet import SqliteFleet
from ingest_server.upkeep import scrub_text
from ingest_server.upkeep.scrub import Report, Scrub
from ingest_server.upkeep.scrub_text import Bar

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
)
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
SIGNALS = STOP_SIGNALS | {signal.SIGHUP}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    return PROGRAM.run(command_parser(), argv)


def command_parser() -> argparse.ArgumentParser:
    """Return the program's commands and options, for its manual and completion too."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config", type=Path, metavar="FILE", help=f"TOML file (default: {DEFAULT_PATH}, if any)"
    )
    common.add_argument("--data-dir", type=Path, metavar="DIR", help="overrides [server] data_dir")
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

    AccessCommands(_open_state, _config, PROGRAM.complain).add_parsers(commands, common)
    WebhookCommands(_open_state, _config, PROGRAM.complain).add_parsers(commands, common)
    UserCommands(_open_state, _config, PROGRAM.complain).add_parsers(commands, common)
    UploadCommands(_open_state).add_parsers(commands, common)
    GroupCommands(_open_state).add_parsers(commands, common)
    DeviceCommands(_open_state, _open_fleet, PROGRAM.complain).add_parsers(commands, common)
    RoomCommands(_open_state, _open_blobs, _config, PROGRAM.complain).add_parsers(commands, common)

    CheckCommand(_open_to_check, _config).add_parser(commands, common)
    verify = commands.add_parser(
        "verify",
        parents=[common],
        help="read every published file and compare it with its receipt; beside a running server",
        description="Reads every published file and compares it with its receipt. One that is "
        "not the recording any more is moved to quarantine/ and told of as an event. Exit code 1 "
        "when a file is corrupt or cannot be read; a file that somebody moved away is no fault.",
    )
    verify.add_argument("--json", action="store_true", help="the report as a JSON document")
    verify.add_argument(
        "--no-quarantine", action="store_true", help="leave corrupt files where they are"
    )
    verify.set_defaults(command=_verify)

    restore.add_parser(commands, common, _folder_to_restore)
    setup.add_parser(commands, main)
    return parser


def _config(options: argparse.Namespace) -> ServerConfig:
    path: Path | None = options.config
    if path is None and DEFAULT_PATH.exists():
        path = DEFAULT_PATH
    return load(
        path,
        environ=os.environ,
        listen=getattr(options, "listen", None),
        data_dir=options.data_dir,
    )


def _has_no_file(options: argparse.Namespace) -> bool:
    return options.config is None and not DEFAULT_PATH.exists()


# run


def _run(options: argparse.Namespace) -> int:
    config = _config(options)
    from ingest_server.server import IngestServer  # needs the [server] extra

    # Before any thread starts, so that all inherit it and the signals wait for `_wait`.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    logs.configure(level=config.log.level, form=config.log.format)
    speak_in_lines(config.log.format)
    if _has_no_file(options):
        log.info("config.defaults", path=str(DEFAULT_PATH), error="no such file; built-in defaults")
    _raise_descriptor_limit()
    notifier = Notifier.from_environ(os.environ, pid=os.getpid())
    _make_folder(config.server.data_dir)
    with opening(STOP_SIGNALS):
        server = IngestServer(config)
        server.start()
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
        config = _config(options)
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


# verify


def _verify(options: argparse.Namespace) -> int:
    config = _config(options)
    data_dir = config.server.data_dir
    # A token makes the database; the first start of the server makes the folder.
    if config.storage.blobs is None and not (data_dir / PUBLISHED).is_dir():
        PROGRAM.complain(f"nothing was ever stored in {data_dir}: no server has run with it")
        return EXIT_FAILED
    _become_owner(data_dir)
    report, bar = Report(), Bar(sys.stderr, SystemClock().now_s, shown)
    with (
        closing(open_facts(config)) as state,
        closing(look_at_blobs(config)) as blobs,
        closing(bar),
    ):
        sets_apart = not options.no_quarantine
        with suppress(KeyboardInterrupt):  # the report says that it is not whole
            Scrub(state, blobs, SystemClock(), sets_apart=sets_apart).run(bar, report)
    print(scrub_text.document(report) if options.json else scrub_text.summary(report))
    return EXIT_DONE if report.is_whole and not report.has_faults else EXIT_FAILED


# The data folder


def _open_state(options: argparse.Namespace) -> StateStore:
    """Open the database as its owner, so that no file is left that the server cannot write."""
    data_dir = _config(options).server.data_dir
    if _has_no_file(options):
        PROGRAM.complain(
            f"there is no {DEFAULT_PATH}; built-in defaults are used, data in {data_dir}."
        )
    begins = getattr(options, "begins", False)
    if begins:
        _make_folder(data_dir)
    _existing_folder(options)
    return open_facts(_config(options), begins=begins)


def _open_to_check(options: argparse.Namespace) -> StateStore:
    config = _config(options)
    if config.storage.state is None or config.storage.blobs is None:
        return _open_state(options)
    return open_facts(config)  # nothing of it is in the data folder, which need not be there


def _open_fleet(options: argparse.Namespace) -> FleetStore | None:
    """Open what devices have reported, beside a server that may be running; None: none has."""
    if _config(options).storage.state is not None:
        return _open_state(options).fleet(closes=True)
    path = _config(options).server.data_dir / FLEET
    return SqliteFleet(path, begins_anew=False) if path.exists() else None


def _existing_folder(options: argparse.Namespace) -> Path:
    """Return the data folder, for a command that works on what is there, as its owner.

    Raises:
        ServerError: there is none.
    """
    data_dir = _config(options).server.data_dir
    if not data_dir.is_dir():
        raise ServerError(
            f"There is no data folder {data_dir}: see [server] data_dir, or --data-dir."
        )
    _become_owner(data_dir)
    return data_dir


def _folder_to_restore(options: argparse.Namespace) -> Path:
    """Return the data folder whose database is to be replaced.

    Raises:
        ServerError: there is none, or the facts are elsewhere.
    """
    if _config(options).storage.state is not None:
        raise ServerError(
            "The facts are in PostgreSQL ([storage] state), and so are its copies: restore it with its own "
            "tools, from a backup with the log up to now (pg_basebackup and archived WAL)."
        )
    return _existing_folder(options)


def _open_blobs(options: argparse.Namespace) -> Blobs:
    """Look at the bytes, whose database is open, beside a server that may be running."""
    return look_at_blobs(_config(options))


def _make_folder(data_dir: Path) -> None:
    """Make the data folder where there is none, with the owner of the folder it lies in."""
    try:
        if data_dir.is_dir():
            return
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        data_dir.mkdir(mode=0o750, exist_ok=True)
        if os.geteuid() == 0:
            above = data_dir.parent.stat()
            os.chown(data_dir, above.st_uid, above.st_gid)
    except OSError as error:
        msg = f"The data folder {data_dir} cannot be made: {error.strerror}."
        raise ServerError(msg) from error


def _become_owner(data_dir: Path) -> None:
    owner = data_dir.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)
