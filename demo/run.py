"""What ``python -m demo`` is asked for, and how it is told to end, and to break and mend what runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from signal import SIGHUP, SIGINT, SIGRTMIN, SIGTERM, SIGUSR1, SIGUSR2, signal
from types import FrameType

STEERING = {"cut": SIGUSR1, "mend": SIGUSR2, "kill": SIGRTMIN}
"""What `demo.steer` sends, from another terminal."""


def port(text: str) -> int:
    """Return the port that *text* names; 0: any.

    Raises:
        ArgumentTypeError: there is no such port.
    """
    if not text.isascii() or not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return int(text)


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Start an MQTT broker, the ingest server and an agent on this machine, and tell "
        "what happens. Ctrl-C stops everything.",
    )
    parser.add_argument("--var", type=Path, default=Path("var"), help="data (default: ./var)")
    parser.add_argument(
        "--media", type=Path, default=Path("media"), help="watched folder (default: ./media)"
    )
    parser.add_argument(
        "--server-port", type=port, default=8080, help="another is taken if in use (default: 8080)"
    )
    parser.add_argument(
        "--mqtt-port", type=port, default=1883, help="another is taken if in use (default: 1883)"
    )
    parser.add_argument(
        "--max-rate",
        metavar="RATE",
        default="1MB",
        help="bytes per second, as 500KB; none: no limit (default: 1MB, slow enough to watch)",
    )
    parser.add_argument(
        "--settle-seconds",
        type=float,
        default=2.0,
        help="quiet time after which a recording counts as finished (default: 2)",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run until a signal; return the exit code."""
    signals = 0
    is_gone = make_is_gone()
    wishes: SimpleQueue[str] = SimpleQueue()

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal signals
        signals += 1

    def steer(number: int, _frame: FrameType | None) -> None:
        wishes.put(next(wish for wish, one in STEERING.items() if one == number))

    for number in (SIGINT, SIGTERM, SIGHUP):
        signal(number, stop)
    for number in STEERING.values():
        signal(number, steer)

    # Only now: these take a moment, and Ctrl-C in that moment is a wish like any other.
    from demo.errors import DemoError
    from demo.launcher import Launcher
    from demo.layout import Layout
    from demo.screen import Screen

    chosen = _arguments(arguments)
    screen = Screen()

    def is_stopped() -> bool:
        return signals > 0 or is_gone() or screen.is_gone

    layout = Layout(var=chosen.var.resolve(), media=chosen.media.resolve())
    try:
        layout.make_folders()
        with layout.lock():
            Launcher(layout, screen, is_stopped, wishes).run(
                server_port=chosen.server_port,
                mqtt_port=chosen.mqtt_port,
                max_rate=None if chosen.max_rate == "none" else chosen.max_rate,
                settle_seconds=chosen.settle_seconds,
            )
    except DemoError as error:
        print(error, file=sys.stderr)
        return 1
    screen.say("everything has stopped")
    return 0


def make_is_gone() -> Callable[[], bool]:
    """Return what tells whether the `make` that started this was killed, which could not say so.

    Whoever starts the demo otherwise may leave it running.
    """
    if "MAKELEVEL" not in os.environ:
        return lambda: False
    parent = os.getppid()
    return lambda: os.getppid() != parent
