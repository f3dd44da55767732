"""A server on one machine that moves to PostgreSQL and S3: both configurations, the command, what is where."""

from __future__ import annotations

import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from demo.ports import LOOPBACK
from ingest_server.storage.s3.bucket import Bucket
from ingest_server.storage.s3.place import Place
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
        database: Postgres | None = None,
        *,
        place: Place | None = None,
        **tables: Any,
    ) -> None:
        self.place = place or store.place()
        self.url = None if database is None else database.database()
        self.old = Server(folder / "old", **tables)
        self.data_dir = self.old.data_dir
        storage: dict[str, Any] = store.settings(self.place)
        if self.url is not None:
            storage["state"] = self.url
        self.new = self._server(folder / "new", {**storage, "before": self.data_dir}, tables)
        self.after = self._server(folder / "after", storage, tables)
        self._bucket = Bucket(store.of(self.place.prefix))

    def _server(self, folder: Path, storage: dict[str, Any], tables: dict[str, Any]) -> Server:
        listen = {"listen": f"{LOOPBACK}:{self.old.port}", **tables.get("server", {})}
        made = Server(
            folder, data_dir=self.data_dir, **{**tables, "server": listen}, storage=storage
        )
        made.port = self.old.port
        return made

    def command(self, *arguments: Any) -> list[Any]:
        to = ["--to", self.new.config]
        return [*SERVER, "migrate", "--config", self.old.config, *to, *arguments]

    def migrate(self, *arguments: Any) -> subprocess.CompletedProcess[str]:
        """Run one step; return how it went."""
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=60, check=False
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

    def unfinished(self) -> list[str]:
        """Return the keys of which parts lie in the bucket that nobody made an object of."""
        with closing(Bucket(self.place)) as bucket:
            found = bucket._ask("list_multipart_uploads", "", Prefix=self.place.prefix)
        return [str(one["Key"]) for one in found.get("Uploads", ())]

    def close(self) -> None:
        for one in (self.old, self.new, self.after):
            one.close()
        self._bucket.close()
