"""The camera where PyAV has no wheel: the program ffmpeg records the same picture in the same way."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from demo.errors import DemoError

_LOOK_S = 0.1


def record(
    path: Path, *, seconds: float, bits_per_s: int, is_stopped: Callable[[], bool] = lambda: False
) -> None:
    """Record *seconds* of video to *path*, complete on return; *is_stopped* ends it early.

    Raises:
        DemoError: ffmpeg is not there either, or it fails.
        FileExistsError: there is something at *path*.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise DemoError(
            "There is nothing to record with: PyAV has no package for this machine, and ffmpeg is not"
            f" installed. Run apt install ffmpeg, or copy a video of yours into {path.parent}."
        )
    path.touch(exist_ok=False)  # never over a recording
    command = [program, "-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-re"]
    command += ["-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25", "-t", f"{seconds:g}"]
    command += [
        "-c:v",
        "mpeg4",
        "-b:v",
        str(bits_per_s),
        "-pix_fmt",
        "yuv420p",
        "-flush_packets",
        "1",
        str(path),
    ]
    # A group of its own: Ctrl-C is passed on once, and not twice, which would leave half a file.
    running = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True
    )
    is_asked, said = False, None
    while said is None:
        try:
            _, said = running.communicate(timeout=_LOOK_S)
        except subprocess.TimeoutExpired:
            if is_stopped() and not is_asked:
                # Once: by a few of them it ends without closing the file.
                is_asked = True
                running.send_signal(signal.SIGINT)
    if path.stat().st_size == 0:
        path.unlink()
        why = said.strip().rpartition("\n")[2] or f"exit code {running.returncode}"
        raise DemoError(f"ffmpeg could not record: {why}")
