"""The server as a program that keeps house twice a second, where it does so once a minute or hour, and lets go soon.

python -m tests.support.hasty_server run --config FILE
"""

from __future__ import annotations

import sys

from ingest_server import cli
from ingest_server.upkeep import housekeeper
from ingest_server.uploads import leases

housekeeper.EVERY_S = housekeeper.LOG_EVERY_S = housekeeper.CLEAR_EVERY_S = 0.5
leases.LEASE_S = 1.0

if __name__ == "__main__":
    sys.exit(cli.main())
