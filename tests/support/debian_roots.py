"""Small Debian systems for the long tests: made once from Debian's own archive, and kept."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.requirements import missing, require, require_root

_KEPT = Path(os.environ.get("EDGE_UPLOADER_ROOTS", "/var/cache/edge-uploader/roots"))
_PACKAGES = "systemd,systemd-sysv,dbus,python3,ca-certificates,openssl,procps,kmod"
_ARCHIVE_ALONE = 'sed -i /security/d "$1/etc/apt/sources.list"'
"""The archive of updates changes daily, and its lists do not fit each other while a mirror of it is behind."""
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_EMULATORS = {"arm64": "qemu-aarch64", "armhf": "qemu-arm"}


def debian_root(machine: str = "amd64", suite: str = "bookworm", *more: str) -> Path:
    """Return the folder of such a system, which nobody may change; it has the packages *more*, too."""
    require_root()
    root = _KEPT / "-".join((suite, machine, *more))
    if machine in _EMULATORS:
        with _alone("emulators"):
            _register(_EMULATORS[machine])
    with _alone(root.name):
        if not (root / "etc/debian_version").is_file():
            _make(root, machine, suite, *more)
    return root


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Wait until no other process makes that one: two would take each other's files away.

    Others are not waited for: that of another processor takes a quarter of an hour.
    """
    _KEPT.mkdir(parents=True, exist_ok=True)
    with (_KEPT / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(root: Path, machine: str, suite: str, *more: str) -> None:
    require("mmdebstrap")
    made = root.with_name(f"{root.name}.making")
    shutil.rmtree(made, ignore_errors=True)  # of one that broke off
    shutil.rmtree(root, ignore_errors=True)
    options = [
        "--variant=minbase",
        f"--architectures={machine}",
        f"--include={','.join((_PACKAGES, *more))}",
        f"--setup-hook={_ARCHIVE_ALONE}",
    ]
    command: list[str | Path] = ["mmdebstrap", "--quiet", *options, suite, made]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)
    if done.returncode:
        missing(f"a Debian for {machine} cannot be made: {done.stderr[-400:]}")
    made.rename(root)


def _register(emulator: str) -> None:
    """Let the kernel start that machine's programs, in any root (F: the emulator is opened now)."""
    require(f"{emulator}-static")
    if not (_BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", _BINFMT], check=True)
    if not (_BINFMT / emulator).exists():
        (_BINFMT / "register").write_text(Path(f"/usr/lib/binfmt.d/{emulator}.conf").read_text())
