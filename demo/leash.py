"""Run a command that the kernel ends with its parent: ``leash.py PARENT_PID COMMAND ...``.

A launcher that is killed cannot stop what it started, so each child asks the kernel to. This is a
program of its own because the request has to be made in the child, between fork and exec, where
running Python code is not safe; it replaces itself by the command at once.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for the signal and become the command; returns only by an exception."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it died before the request was made
        sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
