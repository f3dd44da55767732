"""``edge-agent run | check | status | upload | now | retry | ...``: the commands of whoever runs the device.

Exit codes: 0 done (SIGTERM too), 1 failed, 2 usage, 78 configuration (EX_CONFIG).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_agent.base.errors import AgentError, ConfigError
from edge_agent.base.settings_loading import CONFIG_VARIABLE, Loaded, load
from edge_agent.options import SHORTHANDS, add_commands
from edge_agent.report.contract import NAMES as CONTRACT
from edge_agent.report.contract import schema
from edge_agent.setup import parser as setup
from edge_host.command_line import EXIT_CONFIG, EXIT_DONE, EXIT_FAILED, Program
from edge_host.setup.errors import SetupError
from edge_host.terminal import plain


def _log_to_stderr() -> None:
    """Have nothing but what was asked for on standard output; a command may say more of it."""
    from edge_agent import logs

    logs.configure("warning", "console")


PROGRAM = Program(
    "edge-agent",
    exit_codes={ConfigError: EXIT_CONFIG, AgentError: EXIT_FAILED, SetupError: EXIT_FAILED},
    libraries=frozenset({"httpx", "httpcore", "paho", "watchdog"}),
    missing="{library} is not installed; run in the project's folder: pip install '.[agent]'",
    prepare=_log_to_stderr,
)

_BROKER_S = 10.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    return PROGRAM.run(command_parser(), argv)


def command_parser() -> argparse.ArgumentParser:
    """Return the program's commands and options, for its manual and completion too."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM.name,
        description="Sends recordings from this device to an ingest server, over links that break."
        " Deletes a recording only if you want that, and only when the server holds a verified copy.",
        epilog="Every key of the configuration is an environment variable, too, such as"
        " EDGE_AGENT_WATCH__FOLDER for [watch] folder, and an option: --set watch.folder=DIR."
        " Options come before the environment, that before the file. Exit codes: 0 done, 1 failed,"
        " 2 usage, 78 configuration.",
    )
    setup.add_parser(add_commands(parser, _CALLS))
    return parser


def _load(options: argparse.Namespace, *, looks_at_files: bool = True) -> Loaded:
    chosen: dict[str, tuple[str, str]] = {}
    for assignment in options.set:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError([f"--set {key[:80]!r}: write KEY=VALUE"])
        chosen[key.strip()] = (value, f"--set {key.strip()}")
    for key, (flag, _, _) in SHORTHANDS.items():
        if (given := getattr(options, key)) is not None:
            chosen[key] = (given, flag)
    named = os.environ.get(CONFIG_VARIABLE)
    file = options.config or (Path(named) if named else None)
    return load(file, os.environ, chosen, looks_at_files=looks_at_files)


def _run(options: argparse.Namespace) -> int:
    loaded = _load(options)
    from edge_agent import logs
    from edge_agent.agent import STOP_SIGNALS, Agent, block_signals
    from edge_agent.base.clock import SystemClock, boot_id
    from edge_host.logs import speak_in_lines
    from edge_host.startup import opening
    from edge_host.systemd import Notifier, passed_sockets

    block_signals()
    logs.configure(loaded.settings.log.level, loaded.settings.log.format)
    speak_in_lines(loaded.settings.log.format)
    logs.tell_of_configuration(loaded.file, loaded.warnings)
    notifier = Notifier.from_environ(os.environ, pid=os.getpid())
    passed = passed_sockets(os.environ, pid=os.getpid())
    with opening(STOP_SIGNALS):
        agent = Agent(
            loaded, clock=SystemClock(), boot_id=boot_id(), notifier=notifier, passed=passed
        )
    try:
        agent.run(lambda: _load(options))
    finally:
        agent.close()
    return EXIT_DONE


def _check(options: argparse.Namespace) -> int:
    is_as_configured = not options.set and not any(getattr(options, key) for key in SHORTHANDS)
    log_format = _load(options, looks_at_files=False).settings.log.format
    from edge_agent import logs
    from edge_agent.operate.checking import findings

    logs.configure("error", log_format)
    has_failed = False
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was begun is given up, too
    for finding in findings(
        lambda looks_at_files: _load(options, looks_at_files=looks_at_files),
        is_as_configured=is_as_configured,
    ):
        has_failed |= finding.level == "FAIL"
        print(plain(f"{finding.level:<4}  {finding.what}: {finding.text}"), flush=True)
    return EXIT_FAILED if has_failed else EXIT_DONE


def _status(options: argparse.Namespace) -> int:
    settings = _load(options, looks_at_files=False).settings
    from edge_agent.operate.status import read_status
    from edge_agent.operate.status_watch import show, watch

    if options.json:
        answer = read_status(settings)
        if options.failed:
            answer["files"] = [row for row in answer["files"] if row["state"] == "failed"]
        print(json.dumps(answer, indent=2))
    else:
        (watch if options.watch else show)(settings, sys.stdout, only_failed=options.failed)
    return EXIT_DONE


def _pause(options: argparse.Namespace) -> int:
    settings = _load(options, looks_at_files=False).settings
    from edge_agent.operate.asked import NOT_RUNNING, do

    args = {} if options.do == "resume" or options.seconds is None else {"for_s": options.seconds}
    answer, is_running = do(settings, options.do, **args)
    said = "paused: nothing is sent" if options.do == "pause" else f"resumed: {answer['message']}"
    if args:
        said += f" for {options.seconds} s"
    print(said if is_running else said + NOT_RUNNING)
    return EXIT_DONE


def _hold(options: argparse.Namespace) -> int:
    settings = _load(options, looks_at_files=False).settings
    from edge_agent.operate.asked import NOT_RUNNING, do

    given = {key: getattr(options, key, None) for key in ("for_s", "reason", "pid")}
    args = {key: value for key, value in given.items() if value is not None}
    answer, is_running = do(settings, options.do, **args)
    print(plain(answer["message"]) + ("" if is_running else NOT_RUNNING))
    return EXIT_DONE


def _now(options: argparse.Namespace) -> int:
    settings = _load(options, looks_at_files=False).settings
    from edge_agent.operate.asked import now

    lines, are_all = now(settings, options.names, metered=options.metered)
    print("\n".join(map(plain, lines)))
    return EXIT_DONE if are_all else EXIT_FAILED


def _rescan(options: argparse.Namespace) -> int:
    settings = _load(options, looks_at_files=False).settings
    from edge_agent.operate.asked import do

    answer, is_running = do(settings, "rescan")
    print(answer["message"] if is_running else "the next start looks through what is watched")
    return EXIT_DONE


def _retry(options: argparse.Namespace) -> int:
    settings = _load(options, looks_at_files=False).settings
    from edge_agent.operate.retry import retry, words

    done, is_running = retry(settings, options.ids)
    print(words(done, is_running=is_running))
    return EXIT_FAILED if done.unknown else EXIT_DONE


def _rotate(options: argparse.Namespace) -> int:
    settings = _load(options).settings
    from edge_agent.base.clock import SystemClock
    from edge_agent.send.enrolment import rotate
    from edge_agent.send.wiring import make_transport

    with make_transport(settings, SystemClock()) as transport:
        rotate(settings, transport)
    print(f"the new token is in {settings.server.token_file}; the old one is void")
    return EXIT_DONE


def _mqtt(options: argparse.Namespace) -> int:
    settings = _load(options, looks_at_files=False).settings
    from edge_agent.base.state_lock import StateLock
    from edge_agent.report.broker.check import unregister

    with StateLock(settings.state_dir):
        print(unregister(settings.mqtt, settings.device_id, _BROKER_S))
    return EXIT_DONE


def _mqtt_schema(options: argparse.Namespace) -> int:
    name = options.name
    print(json.dumps(schema(name) if name else {one: schema(one) for one in CONTRACT}, indent=2))
    return EXIT_DONE


def _finished(options: argparse.Namespace) -> int:
    from edge_agent.operate.asked import say_finished, say_finished_at

    if options.socket is not None:  # whoever may use it need not be able to read the configuration
        lines, are_all = say_finished_at(options.socket, options.files)
    else:
        settings = _load(options, looks_at_files=False).settings
        lines, are_all = say_finished(settings, options.files)
    print("\n".join(map(plain, lines)))
    return EXIT_DONE if are_all else EXIT_FAILED


def _upload(options: argparse.Namespace) -> int:
    if options.finished:
        return _finished(options)
    if options.socket is not None:
        PROGRAM.complain(
            "--socket goes with --finished: all else is asked as the agent's user, or as root"
        )
        return EXIT_FAILED
    loaded = _load(options)
    from edge_agent import logs
    from edge_agent.base.clock import SystemClock, boot_id
    from edge_agent.operate.upload_once import upload
    from edge_host.logs import catch_errors

    # The progress is the output; the log is for what goes wrong.
    level = options.__dict__["log.level"] or "error"
    logs.configure(level, loaded.settings.log.format)
    catch_errors()
    try:
        is_done = upload(
            loaded.settings,
            options.files,
            now=options.now,
            clock=SystemClock(),
            boot_id=boot_id(),
            out=sys.stdout,
        )
    except KeyboardInterrupt:
        print(file=sys.stderr)  # the progress line ends here
        PROGRAM.complain(
            "stopped; what has arrived is kept, and the same command goes on from there"
        )
        raise
    return EXIT_DONE if is_done else EXIT_FAILED


_CALLS = {
    "run": _run,
    "check": _check,
    "status": _status,
    "pause": _pause,
    "hold": _hold,
    "now": _now,
    "rescan": _rescan,
    "retry": _retry,
    "rotate": _rotate,
    "mqtt": _mqtt,
    "mqtt_schema": _mqtt_schema,
    "upload": _upload,
}
"""What each command calls."""
