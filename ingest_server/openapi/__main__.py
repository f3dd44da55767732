"""``python -m ingest_server.openapi`` prints the document."""

import sys

from ingest_server.openapi.document import text

sys.stdout.write(text())
