"""The server as a program that keeps house twice a second, where it does so once a minute.

python -m tests.support.hasty_server run --config FILE
"""

from __future__ import annotations

import sys

from ingest_server import cli
from ingest_server.upkeep import housekeeper

housekeeper.EVERY_S = housekeeper.LOG_EVERY_S = 0.5

if __name__ == "__main__":
    sys.exit(cli.main())
