"""The program ``edge-agent``, also as ``python -m edge_agent``."""

import sys

from edge_agent.deferred import defer


def main() -> int:
    """Run one command; return the exit code."""
    defer()
    from edge_agent import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
