"""A machine of its own to set up: the files of this one below a layer that is thrown away, its own network."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.requirements import require, require_root

TREE = Path(__file__).parents[2]
_MAKE = """
mount -t tmpfs tmpfs "$1" && mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc" && mount --rbind /dev "$1/root/dev"
mount -t tmpfs tmpfs "$1/root/run" && chmod a+x "$1/root/root"
for one in "$2" "$3"; do # on another file system than /
  test -e "$1/root$one" || { mkdir -p "$1/root$one" && mount --bind "$one" "$1/root$one"; }
done
ip link set lo up && echo made && exec sleep infinity
"""


class MachineRoot:
    """Runs commands as that machine's root; systemd does not run there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.root = folder / "root"
        command = [
            "unshare",
            "--mount",
            "--net",
            "--propagation",
            "private",
            "sh",
            "-ec",
            _MAKE,
            "sh",
            folder,
        ]
        self._holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "made\n"
        self.files = Path(f"/proc/{self._holder.pid}/root{self.root}")
        """Its files, as they are seen from here."""
        self._started: list[subprocess.Popen[str]] = []

    def _inside(self, command: Sequence[object]) -> list[object]:
        enter = ["nsenter", "--target", self._holder.pid, "--mount", "--net", "chroot", self.root]
        return [str(one) for one in (*enter, "env", f"PYTHONPATH={TREE}", *command)]

    def run(self, *command: object, input_: str = "", code: int = 0) -> str:
        """Return what a command printed, on both."""
        done = subprocess.run(
            self._inside(command),
            input=input_,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def program(self, module: str, *arguments: object, input_: str = "", code: int = 0) -> str:
        return self.run(sys.executable, "-m", module, *arguments, input_=input_, code=code)

    def start(self, user: str, module: str, *arguments: object) -> Path:
        """Start a program as one of that machine's users; return its log."""
        who = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        log = self._folder.with_name(f"{module}.log")
        with log.open("w") as out:
            command = self._inside([*who, sys.executable, "-m", module, *arguments])
            self._started.append(subprocess.Popen(command, stdout=out, stderr=out, text=True))
        return log

    def stop(self) -> None:
        """Kill what was started there."""
        while self._started:
            one = self._started.pop()
            one.kill()
            one.wait()
            if one.stdout is not None:
                one.stdout.close()

    def begin(self, module: str, *arguments: object, input_: str = "") -> subprocess.Popen[str]:
        """Start a command of which each line is read as it comes."""
        command = self._inside([sys.executable, "-m", module, *arguments])
        one = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert one.stdin is not None
        one.stdin.write(input_)
        one.stdin.close()
        self._started.append(one)
        return one

    def close(self) -> None:
        self.stop()
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()


@contextlib.contextmanager
def machine_root(folder: Path) -> Iterator[MachineRoot]:
    require_root()
    for program in ("unshare", "nsenter", "setpriv", "ip"):
        require(program)
    os.makedirs(folder, exist_ok=True)
    one = MachineRoot(folder)
    try:
        yield one
    finally:
        one.close()
