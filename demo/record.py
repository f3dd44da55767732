"""``python -m demo.record``: record a real video into the folder that the demo's agent watches."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGINT, SIGTERM, signal
from types import FrameType

from demo.errors import DemoError
from demo.layout import Layout

MB = 1_000_000
ENDINGS = ("mkv", "mov", "mp4", "ts")


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m demo.record",
        description="Record a moving test picture with a clock, as a camera does: in real time, "
        "under the final name, growing.",
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="length (default: 10)")
    parser.add_argument(
        "--out", type=Path, default=Path("media"), help="folder to record into (default: media)"
    )
    parser.add_argument("--kind", choices=ENDINGS, default="mp4", help="default: mp4")
    parser.add_argument("--name", help="file name (default: made of the time)")
    parser.add_argument("--mbit", type=float, default=4.0, help="Mbit per second (default: 4)")
    chosen = parser.parse_args(arguments)
    if chosen.seconds <= 0 or chosen.mbit <= 0:
        parser.error("--seconds and --mbit must be more than 0")
    return chosen


def main(arguments: list[str] | None = None) -> int:
    """Record once; return the exit code."""
    chosen = _arguments(arguments)
    name = chosen.name or f"REC_{datetime.now(UTC):%Y%m%d_%H%M%S}.{chosen.kind}"
    path = chosen.out / name
    stopped = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()

    # A camera that is switched off still closes its file.
    signal(SIGINT, stop)
    signal(SIGTERM, stop)

    print(f"recording {path} for {chosen.seconds:g} s (Ctrl-C ends it early) ...", flush=True)
    started = time.monotonic()
    try:
        chosen.out.mkdir(parents=True, exist_ok=True)
        _record(path, chosen.seconds, round(chosen.mbit * MB), stopped.is_set)
    except OSError as error:
        print(f"could not record: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except (DemoError, ValueError) as error:
        print(f"could not record: {error}", file=sys.stderr)
        return 1
    size = path.stat().st_size / MB
    print(f"recorded  {path}: {size:.1f} MB in {time.monotonic() - started:.1f} s")
    try:
        Layout(var=Path("var").resolve(), media=chosen.out).owner()
    except DemoError:
        print(
            "`make run` is not running here. Unless `make run-scale` is, this file is sent as soon as you start "
            "one of them."
        )
    return 0


def _record(path: Path, seconds: float, bits_per_s: int, is_stopped: Callable[[], bool]) -> None:
    try:
        from demo.camera import Picture, record
    except ModuleNotFoundError:
        from demo import ffmpeg

        ffmpeg.record(path, seconds=seconds, bits_per_s=bits_per_s, is_stopped=is_stopped)
    else:
        picture = Picture(bits_per_s=bits_per_s)
        record(path, seconds=seconds, picture=picture, is_stopped=is_stopped)


if __name__ == "__main__":
    sys.exit(main())
