"""How ``edge-agent`` is called: its commands and their options. What they do is in `cli`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import TypeAlias

from edge_agent.base.settings_loading import CONFIG_VARIABLE, DEFAULT_FILE
from edge_agent.core.durations import seconds
from edge_agent.report.contract import NAMES as CONTRACT
from edge_host.command_line import given_path
from edge_host.version import own_version

Parsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What ``add_subparsers`` returns."""
Calls = Mapping[str, Callable[[argparse.Namespace], int]]
"""What each command calls, by its name in the code."""

SHORTHANDS = {
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


def add_commands(parser: argparse.ArgumentParser, call: Calls) -> Parsers:
    """Add all commands of whoever runs the device to *parser*, and return where more may be added."""
    parser.add_argument("--version", action="version", version=own_version())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    common = _common()
    for add in (_add_running, _add_pausing, _add_holding, _add_recordings, _add_login, _add_upload):
        add(commands, common, call)
    return commands


def _add_running(commands: Parsers, common: argparse.ArgumentParser, call: Calls) -> None:
    run = commands.add_parser(
        "run",
        parents=[common],
        help="watch the folder and send, until SIGTERM; SIGHUP reloads the configuration",
    )
    run.set_defaults(command=call["run"])
    check = commands.add_parser(
        "check",
        parents=[common],
        help="try everything once, as the running agent, and say what to do",
    )
    check.set_defaults(command=call["check"])
    status = commands.add_parser(
        "status", parents=[common], help="show the queue, each file's state, and what it waits for"
    )
    form = status.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as one JSON object")
    form.add_argument(
        "--watch", action="store_true", help="show it again each second, until Ctrl-C"
    )
    status.add_argument(
        "--failed", action="store_true", help="show what has failed, why, and how to try it again"
    )
    status.set_defaults(command=call["status"])


def _add_pausing(commands: Parsers, common: argparse.ArgumentParser, call: Calls) -> None:
    for name, what in (
        ("pause", "send nothing until `resume`, across restarts too"),
        ("resume", "end a pause"),
    ):
        pausing = commands.add_parser(name, parents=[common], help=what)
        pausing.set_defaults(command=call["pause"], do=name)
        if name == "pause":
            pausing.add_argument(
                "--for", dest="seconds", type=int, metavar="SECONDS", help="end it after so long"
            )


def _add_holding(commands: Parsers, common: argparse.ArgumentParser, call: Calls) -> None:
    hold = commands.add_parser(
        "hold",
        parents=[common],
        help="for a robot's program: send nothing while it is armed, drives or is busy",
        description="Sends nothing until `edge-agent release`, across restarts too. A hold whose program has"
        " ended, or that is older than the last boot, still holds. `edge-agent status` names it.",
    )
    hold.add_argument(
        "--for",
        dest="for_s",
        type=_time,
        metavar="TIME",
        help="end it after so long: 90s, 10m, 2h, 1d",
    )
    hold.add_argument("--reason", metavar="TEXT", help="the reason that status shows")
    hold.add_argument(
        "--pid", type=int, metavar="PID", help="the process that holds: status says if it has ended"
    )
    hold.set_defaults(command=call["hold"], do="hold")
    release = commands.add_parser("release", parents=[common], help="end a hold")
    release.set_defaults(command=call["hold"], do="release")


def _add_recordings(commands: Parsers, common: argparse.ArgumentParser, call: Calls) -> None:
    now = commands.add_parser(
        "now",
        parents=[common],
        help="send these recordings before all others, whatever the rules say",
        description="Sends recordings before all others, also at times at which your timetable sends nothing."
        " A pause or a hold keeps them back.",
    )
    now.add_argument(
        "names", nargs="+", metavar="FILE", help="a path, or the file_id that `status --json` shows"
    )
    now.add_argument(
        "--metered",
        action="store_true",
        help="also over a link that is metered, or has used up its daily_bytes",
    )
    now.set_defaults(command=call["now"])
    rescan = commands.add_parser(
        "rescan", parents=[common], help="look through the watched folder now"
    )
    rescan.set_defaults(command=call["rescan"])
    retry = commands.add_parser(
        "retry",
        parents=[common],
        help="try again what has failed: all of it, or one recording",
        description="Tries again what has failed. The agent does that by itself after an upgrade, and after you"
        " change [server] url or the token.",
    )
    chosen = retry.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--all", action="store_true", help="everything that has failed")
    chosen.add_argument(
        "ids",
        nargs="*",
        default=[],
        metavar="ID",
        help="a file_id that `status --json` or MQTT shows",
    )
    retry.set_defaults(command=call["retry"])


def _add_login(commands: Parsers, common: argparse.ArgumentParser, call: Calls) -> None:
    rotate = commands.add_parser(
        "rotate-token",
        parents=[common],
        help="replace this device's token by a new one; the agent may run",
    )
    rotate.set_defaults(command=call["rotate"])
    mqtt = commands.add_parser(
        "mqtt", parents=[common], help="remove this device from the MQTT broker"
    )
    mqtt.add_argument(
        "--unregister",
        action="store_true",
        required=True,
        help="remove what the broker retains of this device, and so the device from Home Assistant; stop the agent too",
    )
    mqtt.set_defaults(command=call["mqtt"])
    schema = commands.add_parser("mqtt-schema", help="print the JSON Schemas of the MQTT messages")
    schema.add_argument("name", nargs="?", choices=CONTRACT, help="only this message")
    schema.set_defaults(command=call["mqtt_schema"])


def _add_upload(commands: Parsers, common: argparse.ArgumentParser, call: Calls) -> None:
    upload = commands.add_parser(
        "upload",
        parents=[common],
        help="send files once and wait until they are verified; or tell the agent that they are finished",
    )
    upload.add_argument("files", nargs="+", type=given_path, metavar="FILE")
    how = upload.add_mutually_exclusive_group()
    how.add_argument(
        "--finished",
        action="store_true",
        help="for a recorder's hook: tell the agent that these files of the watched folder are finished",
    )
    upload.add_argument(
        "--socket",
        type=given_path,
        metavar="PATH",
        help="with --finished, as another user than the agent's: the agent's socket for hooks",
    )
    how.add_argument(
        "--now",
        action="store_true",
        help="send the files as they are, even if a program may still write to them",
    )
    upload.set_defaults(command=call["upload"])


def _time(text: str) -> int:
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _common() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config",
        type=given_path,
        metavar="FILE",
        help=f"TOML file (default: ${CONFIG_VARIABLE}, else {DEFAULT_FILE} if there is one)",
    )
    overrides = common.add_argument_group("instead of what the file says")
    for key, (flag, form, what) in SHORTHANDS.items():
        overrides.add_argument(flag, dest=key, metavar=form, help=f"{what} ({key})")
    overrides.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any key, as --set watch.settle_seconds=2; may be repeated",
    )
    return common
