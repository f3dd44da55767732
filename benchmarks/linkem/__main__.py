"""Run any two commands over an emulated link: `python -m benchmarks.linkem run --help`."""

import argparse
import dataclasses
import json
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.linkem.profiles import PROFILES, Link
from benchmarks.linkem.run import Run, run
from benchmarks.linkem.schedule import describe_trace

_FAILED, _TIMED_OUT = 2, 124
_LINK_FIELDS = [field.name for field in dataclasses.fields(Link) if field.name != "note"]


def main() -> int:
    chosen = _parser().parse_args()
    if chosen.command == "profiles":
        for name, link in PROFILES.items():
            print(f"{name:10} {link.note}")
        return 0
    if chosen.command == "trace-info":
        for trace in chosen.traces:
            print(json.dumps({"trace": trace.name, **describe_trace(trace)}))
        return 0
    signal.signal(signal.SIGTERM, _end)
    given = {name: getattr(chosen, name) for name in _LINK_FIELDS}
    link = dataclasses.replace(
        PROFILES.get(chosen.profile, Link()),
        **{name: value for name, value in given.items() if value is not None},
    )
    try:
        report = run(
            Run(
                link=link,
                device=chosen.device,
                server=chosen.server,
                port=chosen.port,
                seed=chosen.seed,
                congestion_control=chosen.cc,
                timeout_s=chosen.timeout_s,
                log_folder=chosen.log_dir,
                series=chosen.series,
            )
        )
    except (RuntimeError, ValueError, OSError) as error:
        print(f"the link could not be run: {error}", file=sys.stderr)
        return _FAILED
    print(json.dumps(dataclasses.asdict(report), indent=1))
    return _TIMED_OUT if report.timed_out else report.device.exit_status & 0xFF


def _end(_number: int, _frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.linkem", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("profiles", help="list the named links")
    traces = commands.add_parser("trace-info", help="describe delivery traces")
    traces.add_argument("traces", nargs="+", type=Path)
    one = commands.add_parser(
        "run",
        help="run a device's command (and a server) over a link",
        epilog='A value "UP/DOWN" sets each direction; one value sets both.',
    )
    one.add_argument("--device", required=True, metavar="CMD", help="shell command; ends the run")
    one.add_argument("--server", metavar="CMD", help="shell command in the other namespace")
    one.add_argument("--port", type=int, help="wait until the server listens there")
    one.add_argument("--timeout-s", type=float, default=600.0)
    one.add_argument("--profile", choices=PROFILES, default="")
    one.add_argument("--seed", type=int, default=1)
    one.add_argument("--cc", default="cubic", help="TCP congestion control (default: cubic)")
    one.add_argument("--log-dir", type=Path, help="server.log and device.log (default: stderr)")
    one.add_argument("--series", type=Path, metavar="CSV", help="the link, ten times a second")
    for name in _LINK_FIELDS:
        one.add_argument(f"--{name.replace('_', '-')}", help="as in profiles.py")
    return parser


if __name__ == "__main__":
    sys.exit(main())
