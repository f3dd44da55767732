"""The program ``ingest-server``, also as ``python -m ingest_server``."""

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Run one command; return the exit code."""
    if os.getpid() == 1:
        # In a container: process 1 has no default action, so that until `run` waits for signals, and
        # in all other commands, SIGTERM would be dropped.
        signal.signal(signal.SIGTERM, _end)
    from ingest_server import cli  # loads the libraries, the better part of a second

    return cli.main()


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
