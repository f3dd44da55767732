"""The program ``edge-agent``, also as ``python -m edge_agent``."""

import os
import signal
import sys
from collections.abc import Callable

from edge_agent.memory import defer

_ENVIRONMENT = {
    # No plugin of a library has a say here, and to look for them reads all that is installed.
    "PYDANTIC_DISABLE_PLUGINS": "__all__",
    # Python's own default on Linux, which it would otherwise compute from how it was built.
    "PYTHONTZPATH": "/usr/share/zoneinfo:/usr/lib/zoneinfo:/usr/share/lib/zoneinfo:/etc/zoneinfo",
}
"""What spares a start the loading of another MiB; what a person has set stays."""


def main() -> int:
    """Run one command; return the exit code."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    defer()
    return _load()()


def _load() -> Callable[[], int]:
    """Load the libraries, seconds on a slow board; Ctrl-C ends that, and shows nobody where it was."""
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heard:  # else it is ignored, and that is to stay
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from edge_agent import cli

    if is_heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return cli.main


if __name__ == "__main__":
    sys.exit(main())
