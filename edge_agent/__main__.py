"""The program ``edge-agent``, also as ``python -m edge_agent``."""

import os
import sys

from edge_host.startup import loading

_ENVIRONMENT = {
    # argparse asks for its words in the person's language, of which there are none but English.
    "LANGUAGE": "C",
    # No plugin of a library has a say here, and to look for them reads all that is installed.
    "PYDANTIC_DISABLE_PLUGINS": "__all__",
    # Python's own default on Linux, which it would otherwise compute from how it was built.
    "PYTHONTZPATH": "/usr/share/zoneinfo:/usr/lib/zoneinfo:/usr/share/lib/zoneinfo:/etc/zoneinfo",
}
"""What spares a start the loading of another MiB; what a person has set stays."""


def main() -> int:
    """Run one command; return the exit code."""
    with loading():  # seconds on a slow board
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from edge_agent.memory import defer, forgo, share_one_heap

        share_one_heap()
        forgo()
        defer()
        from edge_agent import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
