"""The server as a program that gives up in two seconds on what it otherwise waits half a minute for.

python -m tests.support.impatient_server run --config FILE
"""

from __future__ import annotations

import sys

from ingest_server import cli
from ingest_server.storage import silence
from ingest_server.storage.postgres import connections
from ingest_server.storage.s3 import bucket, client

silence.SILENT_S = bucket.SILENT_S = 0.5
bucket.LAST_TRY_S = 1.0
connections.ANSWER_S = client.READ_S = 2.0

if __name__ == "__main__":
    sys.exit(cli.main())
