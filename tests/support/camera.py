"""A camera in a process of its own: it holds its file open, writes in real time, can be killed."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Camera:
    """One running recording; the demo's camera, which rewrites its file's header at the end."""

    def __init__(self, path: Path, *, seconds: float, mbit: float = 4.0) -> None:
        self.path = path
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "demo.record"),
                *("--out", path.parent, "--name", path.name, "--kind", path.suffix[1:]),
                *("--seconds", str(seconds), "--mbit", str(mbit)),
            ],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )

    def is_recording(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout_s: float = 60.0) -> None:
        """Return when the file is closed; raise when the camera failed."""
        if self._process.wait(timeout_s) != 0:
            raise RuntimeError(f"the camera ended with {self._process.returncode}")

    def kill(self) -> None:
        """Pull its battery."""
        self._process.kill()
        self._process.wait()
