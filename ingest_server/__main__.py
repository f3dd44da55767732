"""The program ``ingest-server``, also as ``python -m ingest_server``."""

import sys

from edge_host.startup import loading


def main() -> int:
    """Run one command; return the exit code."""
    with loading():  # the better part of a second
        from ingest_server import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
