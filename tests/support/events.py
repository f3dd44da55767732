"""What a server has written down to tell others."""

import json
import sqlite3
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import closing
from typing import Any

from ingest_server.storage.interface import Wants
from tests.support.core_site import CoreSite


def events(site: CoreSite) -> list[tuple[str, dict[str, Any]]]:
    """Return kind and members of each event, oldest first."""
    with closing(sqlite3.connect(site.data_dir / "state.db")) as connection:
        rows = connection.execute("SELECT type, data FROM events ORDER BY seq")
        return [(kind, json.loads(data)) for kind, data in rows]


def of_types(types: AbstractSet[str]) -> Callable[[], Wants]:
    """Return what chooses all events of these types."""
    return lambda: lambda kind, _device: kind in types
