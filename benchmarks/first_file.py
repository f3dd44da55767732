"""``python -m benchmarks.first_file``: from the clone to the first verified file, as README has it.

Clones what is committed here, runs ``make run`` and ``make demo`` in the clone, and prints how long each part took.
pip's cache is used as it is: run it twice for the figures of a warm one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PATIENCE_S = 300.0


def main() -> int:
    """Measure once; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="first-file-") as folder:
        clone, output = Path(folder) / "edge-uploader", Path(folder) / "output"
        marks = [("", time.monotonic())]

        def done(what: str) -> None:
            marks.append((what, time.monotonic()))

        ours = {key: one for key, one in os.environ.items() if not key.startswith("MAKE")}
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        done("clone")
        with output.open("wb") as out:
            run = subprocess.Popen(
                ["make", "run", "ARGS=--server-port=0 --mqtt-port=0"],
                cwd=clone,
                env=ours,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait(run, (clone / ".venv/.installed-run").exists, output)
            done("install the packages")
            _wait(run, lambda: "is online" in output.read_text(), output)
            done("start broker, server and agent")
            subprocess.run(
                ["make", "demo"], cwd=clone, env=ours, check=True, stdout=subprocess.DEVNULL
            )
            done("record ten seconds of video")
            _wait(run, lambda: "verified" in output.read_text(), output)
            done("notice that it is finished, send it, verify it")
        finally:
            os.killpg(run.pid, signal.SIGINT)
            run.wait(30)
    took = {what: at - before for (_, before), (what, at) in pairwise(marks)}
    for what, seconds in took.items():
        print(f"{seconds:6.1f} s  {what}")
    total = sum(took.values())
    after = total - took["clone"] - took["install the packages"]
    print(f"{total:6.1f} s  in all, {after:.1f} s of it after git and pip")
    return 0


def _wait(run: subprocess.Popen[bytes], condition, output: Path) -> None:
    give_up_s = time.monotonic() + _PATIENCE_S
    while not condition():
        if run.poll() is not None or time.monotonic() > give_up_s:
            sys.exit(f"it did not come so far:\n{output.read_text()}")
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
