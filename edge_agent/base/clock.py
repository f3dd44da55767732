"""The machine's clocks, and whether the one for people is right.

A Raspberry Pi without a battery-backed clock boots in the past, so no decision rests on wall time
(law L6). ``is_synchronised`` says whether a time in a message may be believed.
"""

from __future__ import annotations

import ctypes
import errno
import secrets
import time
from functools import cache
from pathlib import Path
from typing import Protocol

from edge_agent.base.helper import only_helps
from edge_agent.base.time_service import TimeService
from edge_host import clock as host

_STA_UNSYNC = 0x0040
_TIME_ERROR = 5

_time_service = TimeService()


class Clock(host.Clock, Protocol):
    """The host's clocks, and whether the one for people may be believed."""

    def is_synchronised(self) -> bool:
        """Return whether the kernel believes the wall time (NTP or a reference clock)."""
        ...


class SystemClock(host.SystemClock):
    """The machine's clocks."""

    def is_synchronised(self) -> bool:
        """Ask the kernel, else who may ask it; unknown counts as not synchronised."""
        with only_helps("clock", instead="the wall time is not believed"):
            try:
                return is_believed_by_kernel()
            except PermissionError:  # the unit forbids it, since a clock is set by the same call
                return _time_service.is_set(self.now_s(), wall_s=self.now_utc().timestamp())
        return False


def is_believed_by_kernel() -> bool:
    """Return whether the kernel believes the wall time, as ``adjtimex(2)`` says.

    Raises:
        PermissionError: a sandbox does not allow the question.
    """
    # None: what this process has loaded already. find_library would start a program, each time.
    libc = ctypes.CDLL(None, use_errno=True)
    # struct timex is at most 208 bytes on every Linux ABI; `modes` = 0 only reads.
    timex = (ctypes.c_int * 64)()
    state = libc.adjtimex(ctypes.byref(timex))
    if state < 0 and ctypes.get_errno() in (errno.EPERM, errno.EACCES):
        raise PermissionError(ctypes.get_errno(), "adjtimex")
    if state < 0 or state == _TIME_ERROR:
        return False
    # `status` follows modes, offset, freq, maxerror, esterror: long after the padded int.
    long_bytes = ctypes.sizeof(ctypes.c_long)
    status_at = long_bytes * 5
    status = ctypes.c_int.from_buffer(timex, status_at).value
    return not status & _STA_UNSYNC


def since_boot_s() -> float:
    """Return the seconds since the device was started, those in which it slept among them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@cache
def boot_id(path: Path = Path("/proc/sys/kernel/random/boot_id")) -> str:
    """Return the kernel's id of this boot: what tells messages of two boots apart.

    Where that may not be read (a sandbox without /proc/sys) each run counts as a boot of its own.
    """
    try:
        return path.read_text(encoding="ascii").strip() or secrets.token_hex(16)
    except (OSError, ValueError):
        return secrets.token_hex(16)
