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
mount -t overlay overlay -o "lowerdir=$4,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc" && mount --rbind /dev "$1/root/dev"
mount -t tmpfs tmpfs "$1/root/run" && chmod a+x "$1/root/root"
for one in "$2" "$3"; do # on another file system than /
  test "$4" != / -o -e "$1/root$one" || { mkdir -p "$1/root$one" && mount --bind "$one" "$1/root$one"; }
done
ip link set lo up && echo made && exec sleep infinity
"""


class MachineRoot:
    """Runs commands as that machine's root; systemd does not run there.

    Args:
        lower: the folder of another system, whose files it has instead of this one's.
    """

    def __init__(self, folder: Path, lower: Path = Path("/")) -> None:
        self._folder = folder
        self.root = folder / "root"
        alone = ["unshare", "--mount", "--net", "--propagation", "private"]
        command: list[str | Path] = [
            *alone,
            "sh",
            "-ec",
            _MAKE,
            "sh",
            folder,
            TREE,
            sys.prefix,
            lower,
        ]
        self._holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "made\n":
            self._end_holder()
            raise OSError("its files cannot be laid over this machine's")
        self.files = Path(f"/proc/{self._holder.pid}/root{self.root}")
        """Its files, as they are seen from here."""
        self._spaces = ["--mount", "--net"]
        self._started: list[subprocess.Popen[str]] = []

    def _inside(self, command: Sequence[object]) -> list[str]:
        enter = ["nsenter", "--target", self._holder.pid, *self._spaces, "chroot", self.root]
        return [str(one) for one in (*enter, "env", f"PYTHONPATH={TREE}", *command)]

    def run(self, *command: object, input_: str = "", code: int = 0) -> str:
        """Return what a command printed, on both."""
        done = subprocess.run(
            self._inside(command),
            input=input_,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,  # an emulated machine's
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def succeeds(self, *command: object) -> bool:
        done = subprocess.run(self._inside(command), capture_output=True, timeout=60, check=False)
        return done.returncode == 0

    def program(self, module: str, *arguments: object, input_: str = "", code: int = 0) -> str:
        return self.run(sys.executable, "-m", module, *arguments, input_=input_, code=code)

    def start(self, user: str, module: str, *arguments: object) -> Path:
        """Start a program as one of that machine's users; return its log."""
        return self.start_as(user, sys.executable, "-m", module, *arguments, log=module)

    def start_as(self, user: str, *command: object, log: str) -> Path:
        who = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        path = self._folder.with_name(f"{log}.log")
        with path.open("a") as out:
            one = subprocess.Popen(
                self._inside([*who, *command]), stdout=out, stderr=out, text=True
            )
        self._started.append(one)
        return path

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
        self._end_holder()

    def _end_holder(self) -> None:
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()


@contextlib.contextmanager
def machine_root(folder: Path, lower: Path = Path("/")) -> Iterator[MachineRoot]:
    require_root()
    for program in ("unshare", "nsenter", "setpriv", "ip"):
        require(program)
    os.makedirs(folder, exist_ok=True)
    one = MachineRoot(folder, lower)
    try:
        yield one
    finally:
        one.close()
