"""BBR, where this kernel has it: loaded, and allowed to programs that are not root."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

from edge_host.setup.machine import Machine

MODULES = Path("/etc/modules-load.d/edge-uploader.conf")
ALLOWED = Path("/etc/sysctl.d/50-edge-uploader.conf")
_PACKAGED = (
    Path("/usr/lib/modules-load.d/edge-uploader.conf"),
    Path("/usr/lib/sysctl.d/50-edge-uploader.conf"),
)
_KERNEL = Path("/proc/sys/net/ipv4")
_KEY = "tcp_allowed_congestion_control"
_COMMAND_S = 30.0


def allow_bbr(machine: Machine) -> None:
    """Have it from the next start of the machine on, and now if the kernel takes it; it only helps."""
    if not all(one.is_file() for one in _PACKAGED):
        machine.file(
            MODULES, "# Made by edge-agent setup.\ntcp_bbr\n", "the kernel's BBR is loaded"
        )
        # "-": a kernel without it is no fault.
        text = f"# Made by edge-agent setup.\n-net.ipv4.{_KEY} = reno cubic bbr\n"
        machine.file(ALLOWED, text, "BBR is allowed to every program")
    if machine.rehearses:
        return
    if shutil.which("modprobe"):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                ["modprobe", "-q", "tcp_bbr"], timeout=_COMMAND_S, check=False, capture_output=True
            )
    with contextlib.suppress(OSError):
        if "bbr" in (_KERNEL / "tcp_available_congestion_control").read_text().split():
            allowed = (_KERNEL / _KEY).read_text().split()
            if "bbr" not in allowed:
                (_KERNEL / _KEY).write_text(" ".join([*allowed, "bbr"]))
            return
    machine.say(
        "      note  this kernel has no BBR: it goes on with its own default, which is slower on lossy links"
    )
