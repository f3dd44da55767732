"""What a server has written down to tell others."""

import json
import sqlite3
from contextlib import closing
from typing import Any

from tests.support.core_site import CoreSite


def events(site: CoreSite) -> list[tuple[str, dict[str, Any]]]:
    """Return kind and members of each event, oldest first."""
    with closing(sqlite3.connect(site.data_dir / "state.db")) as connection:
        rows = connection.execute("SELECT type, data FROM events ORDER BY seq")
        return [(kind, json.loads(data)) for kind, data in rows]
