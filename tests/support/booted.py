"""A Debian that is booted by its own systemd in a container; what it changes is thrown away."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import wait_for
from tests.support.requirements import require

_NO_TIMERS = ("apt-daily", "apt-daily-upgrade", "e2scrub_all", "dpkg-db-backup", "fstrim")


class Booted:
    """A machine whose root is in `files`; commands are run as its root."""

    def __init__(self, root: Path, work: Path, name: str) -> None:
        work.mkdir(parents=True)
        self._mount(root, work)
        self.files = work / "root"
        for one in _NO_TIMERS:
            unit = self.files / f"etc/systemd/system/{one}.timer"
            unit.unlink(missing_ok=True)
            unit.symlink_to("/dev/null")
        (self.files / "etc/hostname").write_text(f"{name}\n")
        command = [
            "systemd-nspawn",
            "--quiet",
            "--register=no",
            "--keep-unit",
            f"--directory={self.files}",
        ]
        options = [
            "--boot",
            "--console=pipe",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
        ]
        who = [f"--machine={name}", f"--hostname={name}", "--capability=all"]
        with (work / "console").open("w") as console:
            self._boot = subprocess.Popen(
                [*command, *options, *who], stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        try:
            self._leader = wait_for(self._first_process, "the container starts", 30)
            wait_for(self._is_up, "systemd has booted", 60, every_s=0.3)
        except BaseException:
            self.close()
            raise

    def _mount(self, root: Path, work: Path) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g", "tmpfs", work], check=True)
        for name in ("upper", "work", "root"):
            (work / name).mkdir()
        layers = f"lowerdir={root},upperdir={work}/upper,workdir={work}/work"
        subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", layers, work / "root"], check=True
        )
        self._work = work

    def _first_process(self) -> int:
        found = Path(f"/proc/{self._boot.pid}/task/{self._boot.pid}/children").read_text().split()
        return next(
            (int(one) for one in found if Path(f"/proc/{one}/comm").read_text() == "systemd\n"), 0
        )

    def _is_up(self) -> bool:
        said = self.ask("systemctl is-system-running")
        return said.strip() in {"running", "degraded"}

    @property
    def seen(self) -> Path:
        """Its root with what is mounted in it: `files` is without."""
        return Path(f"/proc/{self._leader}/root")

    def ask(self, script: str, input_: str = "") -> str:
        """Return what a shell says to *script*, on both, whatever its exit code."""
        return self._done(script, input_).stdout

    def run(self, script: str, input_: str = "", code: int = 0) -> str:
        done = self._done(script, input_)
        assert done.returncode == code, f"{script}\n{done.stdout}"
        return done.stdout

    def _done(self, script: str, input_: str) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", f"--target={self._leader}", "--all", "--", "/usr/bin/env", "-i"]
        where = ["HOME=/root", "LANG=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        return subprocess.run(
            [*enter, *where, "DEBIAN_FRONTEND=noninteractive", "sh", "-c", script],
            input=input_,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )

    def close(self) -> None:
        self._boot.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._boot.wait(20)
        self._boot.kill()
        self._boot.wait()
        for place in (self._work / "root", self._work):
            subprocess.run(["umount", "--lazy", place], check=True)


@contextlib.contextmanager
def booted(root: Path, work: Path, name: str) -> Iterator[Booted]:
    for program in ("systemd-nspawn", "nsenter", "mount"):
        require(program)
    one = Booted(root, work, name)
    try:
        yield one
    finally:
        one.close()
