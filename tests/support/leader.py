"""A server that does nothing but lead: it says so, and writes one row when it is told to.

    python -m tests.support.leader URL SECONDS

Each line that it reads makes it act once more; it says what became of it.
"""

import json
import sys

import structlog

from edge_host.clock import SystemClock
from ingest_server.core.errors import Refused
from ingest_server.storage.postgres.transactions import PostgresState
from ingest_server.upkeep.leadership import Leadership


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def main(url: str, leads_s: float) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    state = PostgresState.open(url)
    lead = Leadership(state, SystemClock().now_s, leads_s=leads_s)
    lead.start()
    for line in sys.stdin:
        with lead.acting() as term:
            say(term=term)
            if line.strip() == "wait":
                next(sys.stdin)
            if term is None:
                continue
            try:
                state.run(lambda found: found.write_note("upload", f"{term}", lead.name))
            except Refused as refused:
                say(refused=str(refused), holds=lead.holds())
            else:
                say(written=term)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
