"""The forwarding process, its two namespaces, and the commands run in them."""

import contextlib
import hashlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.linkem import DEVICE_IP, SERVER_IP

_SOURCE = Path(__file__).with_name("forward.c")
_LISTENING = "0A"  # of /proc/net/tcp


def build() -> Path:
    """Compile the forwarding process, once per version of its source."""
    source = _SOURCE.read_bytes()
    tag = hashlib.sha256(source).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-uploader"
    core = cache / f"link-{tag}"
    if not core.exists():
        cache.mkdir(parents=True, exist_ok=True)
        fresh = cache / f"{core.name}.{os.getpid()}"
        compiler = os.environ.get("CC", "cc")
        flags = ["-O2", "-Wall", "-Wextra"]
        subprocess.run([compiler, *flags, _SOURCE, "-o", fresh, "-lm"], check=True)
        fresh.rename(core)
    return core


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended and what it used."""

    exit_status: int
    cpu_s: float | None
    max_rss_kib: int | None
    """Of its largest process."""


class Command:
    """A shell command in one of the namespaces, in a process group of its own."""

    def __init__(self, argv: Sequence[str | Path], usage: Path, log: Path | None) -> None:
        self._usage = usage
        with log.open("w") if log else contextlib.nullcontext(sys.stderr) as out:
            self.process = subprocess.Popen(
                [*argv, usage],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env=os.environ | {"LINKEM_SERVER": SERVER_IP, "LINKEM_DEVICE": DEVICE_IP},
            )
        self._pidfd = os.pidfd_open(self.process.pid)
        self.has_ended = False

    def wait(self, timeout_s: float) -> bool:
        """Return whether the command has ended within *timeout_s*."""
        if not self.has_ended:
            self.has_ended = bool(select.select([self._pidfd], [], [], timeout_s)[0])
            if self.has_ended:
                self.process.wait()
                os.close(self._pidfd)
        return self.has_ended

    def end(self, grace_s: float = 2) -> None:
        """SIGTERM the process group, then SIGKILL it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                return
            if self.wait(grace_s):
                return

    def outcome(self) -> Outcome:
        """Return it, once the command has ended."""
        words = self._usage.read_text().split() if self._usage.exists() else []
        used = (float(words[0]), int(words[1])) if words else (None, None)
        return Outcome(self.process.wait(), *used)


class Emulator:
    """A link that stands still until `ask("start")`.

    Raises:
        RuntimeError: the forwarding process did not start; it has said why on stderr.
    """

    def __init__(self, settings: Sequence[str], congestion_control: str, folder: Path) -> None:
        self._core = build()
        self._folder = folder
        self._process = subprocess.Popen(
            [self._core, "link", f"cc={congestion_control}", *settings],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        words = self._answer().split()
        if words[:1] != ["ready"]:
            raise RuntimeError("the forwarding process did not start (are you root?)")
        base = f"/proc/{self._process.pid}/fd"
        self._namespaces = {"device": f"{base}/{words[1]}", "server": f"{base}/{words[2]}"}
        self._inodes = {Path(path).stat().st_ino for path in self._namespaces.values()}

    def ask(self, request: str) -> str:
        """Send one control line ("start" or "stop") and return the answer."""
        if self._process.stdin is None:
            raise RuntimeError("the forwarding process has no input")
        self._process.stdin.write(request + "\n")
        self._process.stdin.flush()
        return self._answer()

    def spawn(self, side: str, command: str, log_folder: Path | None) -> Command:
        """Start a shell command in a namespace; its output goes to SIDE.log, or to stderr."""
        argv: list[str | Path] = [self._core, "enter", self._namespaces[side], command]
        log = None if log_folder is None else log_folder / f"{side}.log"
        return Command(argv, self._folder / f"{side}.usage", log)

    def is_listening(self, command: Command, port: int) -> bool:
        """Return whether a TCP socket listens on *port* in the command's namespace."""
        proc = Path("/proc") / str(command.process.pid)
        if (proc / "ns/net").stat().st_ino not in self._inodes:
            return False  # it has not entered its namespace yet
        tables = [proc / "net" / name for name in ("tcp", "tcp6")]
        rows = [
            row.split()
            for table in tables
            if table.exists()
            for row in table.read_text().splitlines()[1:]
        ]
        return any(
            row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port for row in rows
        )

    def close(self) -> None:
        """Kill whatever still lives in the two namespaces, daemons included."""
        self._sweep()
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _answer(self) -> str:
        if self._process.stdout is None:
            raise RuntimeError("the forwarding process has no output")
        return self._process.stdout.readline().strip()

    def _sweep(self) -> None:
        for _ in range(50):
            alive = 0
            for entry in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):  # it ended meanwhile
                    if (entry / "ns/net").stat().st_ino in self._inodes:
                        os.kill(int(entry.name), signal.SIGKILL)
                        alive += 1
            if not alive:
                return
            time.sleep(0.02)
