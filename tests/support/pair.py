"""Two servers over one PostgreSQL and one S3 store, as processes that keep house twice a second."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from ingest_server.core import events
from ingest_server.storage.postgres.transactions import PostgresState
from ingest_server.storage.s3.bucket import Bucket
from tests.support.plain import plain_client
from tests.support.postgres import Postgres
from tests.support.processes import HASTY_SERVER, Server, wait_for
from tests.support.s3_keys import content_of
from tests.support.s3_proxy import Proxy
from tests.support.seaweed import Seaweed
from tests.support.secured import complete, create, put

MIB = 1024 * 1024


class Pair:
    """Two of them, hasty, and what they share; the store is reached through *proxy*."""

    def __init__(
        self, folder: Path, database: Postgres, store: Seaweed, proxy: Proxy, **tables: Any
    ) -> None:
        """*tables*: of both configurations; `storage` is added to the table of that name."""
        self.proxy = proxy
        self.place = store.place(endpoint=proxy.endpoint)
        self.url = database.database()
        self.bucket = Bucket(store.of(self.place.prefix))
        storage = {"state": self.url, **store.settings(self.place), **tables.pop("storage", {})}
        self.both = [Server(folder / name, storage=storage, **tables) for name in ("one", "other")]
        for server in self.both:
            server.command = [*HASTY_SERVER, "run", "--config", server.config]
        self.token = ""

    def start(self) -> None:
        for server in self.both:
            server.start()
        self.token = self.new_token("drone-1")

    def new_token(self, device: str, *more: str) -> str:
        return self.both[0].run("token", "add", device, *more).splitlines()[-1]

    def close(self) -> None:
        for server in self.both:
            server.close()
        self.bucket.close()

    def camera(self, server: Server) -> httpx.Client:
        known = {"Authorization": f"Bearer {self.token}"}
        address = f"http://127.0.0.1:{server.port}"
        return plain_client(address, headers=known, trust_env=False, timeout=60)

    def begun(self, name: str, data: bytes) -> str:
        """Bring an upload, half of it through each."""
        one, other = self.both
        with self.camera(one) as camera:
            upload_id = create(camera, name=name, length=len(data)).json()["id"]
            assert put(camera, upload_id, data[: 8 * MIB]).status_code == 200
        with self.camera(other) as camera:
            assert put(camera, upload_id, data[8 * MIB :], start=8 * MIB).status_code == 200
        return upload_id

    def completed(self, server: Server, upload_id: str, data: bytes) -> dict[str, Any]:
        """Ask until there is a receipt."""
        with self.camera(server) as camera:

            def receipt() -> dict[str, Any] | None:
                answer = complete(camera, upload_id, data)
                assert answer.status_code in {200, 202, 503}, answer.text
                return answer.json() if answer.status_code == 200 else None

            return wait_for(receipt, "there is a receipt")

    def objects(self) -> list[str]:
        inner = f"{self.place.prefix}.ingest-server/"
        found = [one.key for one in self.bucket.listed(self.place.prefix)]
        return [key for key in found if not key.startswith((f"{inner}store", f"{inner}probe"))]

    def has_objects(self, count: int) -> bool:
        return len(self.objects()) == count

    def content(self, key: str) -> bytes:
        return content_of(self.place, key)

    def completions(self) -> int:
        with closing(PostgresState.open(self.url)) as state:
            return state.outbox.counted(0, state.outbox.newest()).get(events.COMPLETED, 0)
