"""A server on one machine that moves to PostgreSQL and S3: both configurations, the command, what is where."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import httpx

from demo.ports import LOOPBACK
from ingest_server.storage.s3.bucket import Bucket
from tests.support.plain import plain_client
from tests.support.postgres import Postgres
from tests.support.processes import SERVER, Server
from tests.support.seaweed import Seaweed


class Move:
    """One data folder, a server as it was, and one as it will be."""

    def __init__(
        self,
        folder: Path,
        store: Seaweed,
        database: Postgres,
        facts_are_there: bool = False,
        **tables: Any,
    ) -> None:
        """*facts_are_there*: in PostgreSQL before the move."""
        self.place = store.place()
        self.url = database.database()
        facts: dict[str, Any] = {"storage": {"state": self.url}} if facts_are_there else {}
        self.old = Server(folder / "old", **tables, **facts)
        self.data_dir = self.old.data_dir
        storage = {"state": self.url, **store.settings(self.place)}
        self._tables = tables
        self.new = self.server(folder / "new", {**storage, "before": self.data_dir})
        self.after = self.server(folder / "after", storage)
        self._bucket = Bucket(store.of(self.place.prefix))

    def server(self, folder: Path, storage: dict[str, Any]) -> Server:
        """Return one over the same data folder, on the same port, with this table [storage]."""
        listen = {"listen": f"{LOOPBACK}:{self.old.port}", **self._tables.get("server", {})}
        tables = {**self._tables, "server": listen, "storage": storage}
        made = Server(folder, data_dir=self.data_dir, **tables)
        made.port = self.old.port
        return made

    def command(self, *arguments: Any) -> list[Any]:
        to = ["--to", self.new.config]
        return [*SERVER, "migrate", "--config", self.old.config, *to, *arguments]

    def migrate(self, *arguments: Any) -> subprocess.CompletedProcess[str]:
        """Run one step; return how it went."""
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=200, check=False
        )

    def camera(self, token: str) -> httpx.Client:
        return plain_client(
            f"http://{LOOPBACK}:{self.old.port}",
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
            timeout=30,
        )

    def objects(self) -> dict[str, bytes]:
        """Return the content of every published object, by its name."""
        found = {}
        for one in list(self._bucket.listed(self.place.prefix)):
            name = one.key.removeprefix(self.place.prefix)
            if not name.startswith(".ingest-server/"):
                found[name] = self._bucket.get(one, 0, one.size)
        return found

    def files(self) -> dict[str, bytes]:
        """Return the content of every file that the data folder has published, by its name."""
        return {
            str(path.relative_to(self.old.published)): path.read_bytes()
            for path in self.old.published_files()
        }

    def close(self) -> None:
        for one in (self.old, self.new, self.after):
            one.close()
        self._bucket.close()
