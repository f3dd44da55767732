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
from edge_agent.base.settings_loading import CONFIG_VARIABLE, DEFAULT_FILE, Loaded, load
from edge_agent.core.durations import seconds
from edge_agent.report.contract import NAMES as CONTRACT
from edge_agent.report.contract import schema
from edge_agent.setup import parser as setup
from edge_host.command_line import EXIT_CONFIG, EXIT_DONE, EXIT_FAILED, Program
from edge_host.setup.errors import SetupError
from edge_host.terminal import plain
from edge_host.version import own_version

PROGRAM = Program(
    "edge-agent",
    exit_codes={ConfigError: EXIT_CONFIG, AgentError: EXIT_FAILED, SetupError: EXIT_FAILED},
    libraries=frozenset({"httpx", "httpcore", "paho", "watchdog"}),
    missing="{library} is not installed; run in the project's folder: pip install '.[agent]'",
)

_BROKER_S = 10.0

_SHORTHANDS = {
    "device_id": ("--device-id", "NAME", "this device's name"),
    "watch.folder": ("--folder", "DIR", "where the camera writes"),
    "server.url": ("--server-url", "URL", "the ingest server"),
    "server.token_file": ("--token-file", "FILE", "this device's token"),
    "mqtt.url": ("--mqtt-url", "URL", "the MQTT broker"),
    "upload.max_rate": ("--max-rate", "RATE", 'bytes per second, as "500KB"'),
    "state_dir": ("--state-dir", "DIR", "database, lock and control socket"),
    "log.level": ("--log-level", "LEVEL", "debug, info, warning or error"),
    "log.format": ("--log-format", "FORMAT", "auto, json or console"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    return PROGRAM.run(command_parser(), argv)


def command_parser() -> argparse.ArgumentParser:
    """Return the program's commands and options, for its manual and completion too."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM.name,
        description="Sends recordings from this device to an ingest server, over links that break,"
        " and lets them go only when the server holds a verified copy.",
        epilog="Every key of the configuration is an environment variable, too, such as"
        " EDGE_AGENT_WATCH__FOLDER for [watch] folder, and an option: --set watch.folder=DIR."
        " Options come before the environment, that before the file. Exit codes: 0 done, 1 failed,"
        " 2 usage, 78 configuration.",
    )
    parser.add_argument("--version", action="version", version=own_version())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    common = _common()
    run = commands.add_parser(
        "run",
        parents=[common],
        help="watch the folder and send, until SIGTERM; SIGHUP reloads the configuration",
    )
    run.set_defaults(command=_run)
    check = commands.add_parser(
        "check",
        parents=[common],
        help="try everything that must work, once, and say what to mend; the running agent does it",
    )
    check.set_defaults(command=_check)
    status = commands.add_parser(
        "status", parents=[common], help="show the queue, each file's state, and what it waits for"
    )
    form = status.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as one JSON object")
    form.add_argument("--watch", action="store_true", help="again each second, until Ctrl-C")
    status.add_argument(
        "--failed", action="store_true", help="what has failed, why, and how to try it again"
    )
    status.set_defaults(command=_status)
    for name, what in (
        ("pause", "send nothing until told to resume, across restarts too"),
        ("resume", "go on after a pause"),
    ):
        pausing = commands.add_parser(name, parents=[common], help=what)
        pausing.set_defaults(command=_pause, do=name)
        if name == "pause":
            pausing.add_argument(
                "--for", dest="seconds", type=int, metavar="SECONDS", help="go on by itself then"
            )
    _add_hold(commands, common)
    now = commands.add_parser(
        "now",
        parents=[common],
        help="send these recordings before all others, whatever the rules say",
        description="Sends recordings before all others, at times at which nothing else is sent."
        " A pause holds them as well.",
    )
    now.add_argument("names", nargs="+", metavar="FILE", help="a path, or a file_id")
    now.add_argument(
        "--metered", action="store_true", help="over a link that is metered or has used its budget"
    )
    now.set_defaults(command=_now)
    rescan = commands.add_parser(
        "rescan", parents=[common], help="look through the watched folder now"
    )
    rescan.set_defaults(command=_rescan)
    retry = commands.add_parser(
        "retry",
        parents=[common],
        help="try again what has failed: all of it, or one recording",
        description="Tries again what has failed. That happens by itself after an upgrade, and when"
        " [server] url or the token is another.",
    )
    chosen = retry.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--all", action="store_true", help="all that the server has refused")
    chosen.add_argument(
        "ids",
        nargs="*",
        default=[],
        metavar="ID",
        help="file_id, as in status --json and over MQTT",
    )
    retry.set_defaults(command=_retry)
    rotate = commands.add_parser(
        "rotate-token",
        parents=[common],
        help="replace this device's token by a new one, beside a running agent too",
    )
    rotate.set_defaults(command=_rotate)
    mqtt = commands.add_parser(
        "mqtt", parents=[common], help="what the broker keeps of this device"
    )
    mqtt.add_argument(
        "--unregister",
        action="store_true",
        required=True,
        help="have it forget the device, in Home Assistant too, while no agent runs",
    )
    mqtt.set_defaults(command=_mqtt)
    schema = commands.add_parser(
        "mqtt-schema", help="print the JSON Schemas of what is said over MQTT"
    )
    schema.add_argument("name", nargs="?", choices=CONTRACT, help="of one message only")
    schema.set_defaults(command=_mqtt_schema)
    upload = commands.add_parser(
        "upload",
        parents=[common],
        help="send files once and wait until they are verified; or say that a recorder has finished them",
    )
    upload.add_argument("files", nargs="+", type=Path, metavar="FILE")
    how = upload.add_mutually_exclusive_group()
    how.add_argument(
        "--finished",
        action="store_true",
        help="for a recorder's hook: files of the watched folder are finished; wait for nothing",
    )
    upload.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        help="of a recorder's hook (--finished) that runs as another user: where the agent listens to it",
    )
    how.add_argument(
        "--now",
        action="store_true",
        help="as they are, though a program may still write to them, or nobody can say",
    )
    upload.set_defaults(command=_upload)
    setup.add_parser(commands)
    return parser


def _add_hold(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    hold = commands.add_parser(
        "hold",
        parents=[common],
        help="for a robot's program: send nothing while it is armed, drives or is busy",
        description="Sends nothing until `edge-agent release`, across restarts too. A hold whose program has"
        " ended, or from before a reboot, holds on and is named in status.",
    )
    hold.add_argument(
        "--for",
        dest="for_s",
        type=_time,
        metavar="TIME",
        help="end by itself then: 90s, 10m, 2h, 1d",
    )
    hold.add_argument("--reason", metavar="TEXT", help="why, for people")
    hold.add_argument(
        "--pid", type=int, metavar="PID", help="whose hold it is: status says if that process ended"
    )
    hold.set_defaults(command=_hold, do="hold")
    release = commands.add_parser("release", parents=[common], help="end what `hold` began")
    release.set_defaults(command=_hold, do="release")


def _time(text: str) -> int:
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _common() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"TOML file (default: ${CONFIG_VARIABLE}, else {DEFAULT_FILE} if there is one)",
    )
    overrides = common.add_argument_group("instead of what the file says")
    for key, (flag, form, what) in _SHORTHANDS.items():
        overrides.add_argument(flag, dest=key, metavar=form, help=f"{what} ({key})")
    overrides.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any key, as --set watch.settle_seconds=2; may be repeated",
    )
    return common


def _load(options: argparse.Namespace, *, looks_at_files: bool = True) -> Loaded:
    chosen: dict[str, tuple[str, str]] = {}
    for assignment in options.set:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError([f"--set {key[:80]!r}: write KEY=VALUE"])
        chosen[key.strip()] = (value, f"--set {key.strip()}")
    for key, (flag, _, _) in _SHORTHANDS.items():
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
    is_as_configured = not options.set and not any(getattr(options, key) for key in _SHORTHANDS)
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
    from edge_agent.report.broker_check import unregister

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
