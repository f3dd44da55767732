"""Several servers over one PostgreSQL and one S3 store, behind a balancer: all of them processes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from demo.ports import LOOPBACK, free_port
from edge_host.clock import SystemClock
from ingest_server.auth.authentication import SCOPE_UPLOAD
from ingest_server.auth.tokens import issue
from ingest_server.storage.postgres.transactions import PostgresState
from ingest_server.storage.s3.bucket import Bucket
from tests.support.plain import plain_client
from tests.support.postgres import Postgres, postgres
from tests.support.processes import Server, wait_for
from tests.support.requirements import require
from tests.support.s3_proxy import proxy_to
from tests.support.seaweed import Seaweed, seaweed
from tests.support.weather import Weather

_CONFIG = Path(__file__).parents[2] / "deploy" / "replicas" / "haproxy.cfg"
NAMES = ("a", "b", "c")


class Replica(Server):
    """One of the servers."""

    def pause(self) -> None:
        """Let it do nothing, as a machine that hangs."""
        os.kill(self._program(), signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self._program(), signal.SIGCONT)

    def _program(self) -> int:
        """Return its own process id: its parent is what ends it with the tests."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return int(children[0]) if children else self.pid


class Replicas:
    """Three servers and their balancer."""

    def __init__(
        self,
        folder: Path,
        database: Postgres,
        store: Seaweed,
        *,
        endpoint: str | None = None,
        **tables: Any,
    ) -> None:
        """*endpoint*: where the servers find the store, if that is not where it is."""
        self.folder, self.database = folder, database
        self.place = store.place(endpoint=endpoint)
        self.url = database.database()
        storage = {"state": self.url, **store.settings(self.place)}
        server = {"drain_s": 3.0, **tables.pop("server", {})}
        self.servers = [
            Replica(folder / name, server=server, storage=storage, **tables) for name in NAMES
        ]
        self.port = free_port()
        self._balancer: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        for one in self.servers:
            one.start()
        config = _CONFIG.read_text().replace("bind :8080", f"bind {LOOPBACK}:{self.port}")
        for name, one in zip(NAMES, self.servers, strict=True):
            config = config.replace(f"server-{name}:8080", f"{LOOPBACK}:{one.port}")
        path = self.folder / "haproxy.cfg"
        path.write_text(config)
        with (self.folder / "haproxy.log").open("wb") as log:
            command: list[str | Path] = [require("haproxy"), "-f", path, "-db"]
            self._balancer = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(self._answers, "the balancer answers")

    def _answers(self) -> bool:
        with suppress(httpx.HTTPError), self.client() as client:
            return client.get("/livez").status_code == 200
        return False

    def client(self, token: str | None = None, *, timeout_s: float = 30.0) -> httpx.Client:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return plain_client(
            f"http://{LOOPBACK}:{self.port}", headers=headers, trust_env=False, timeout=timeout_s
        )

    def token(self, device: str) -> str:
        """Write down what `token add` does; as a program of its own it takes ten times as long."""
        issued = issue(device, SystemClock().now_utc(), scopes=(SCOPE_UPLOAD,))
        with closing(PostgresState.open(self.url)) as state:
            state.access.add_token(issued.record)
        return issued.token

    def published(self) -> dict[str, bytes]:
        """Return the content of every published object, by its name."""
        return dict(self.each_published())

    def each_published(self) -> Iterator[tuple[str, bytes]]:
        bucket = Bucket(self.place)
        try:
            for one in list(bucket.listed(self.place.prefix)):
                name = one.key.removeprefix(self.place.prefix)
                if not name.startswith(".ingest-server/"):
                    yield name, bucket.get(one, 0, one.size)
        finally:
            bucket.close()

    def close(self) -> None:
        if self._balancer is not None:
            self._balancer.kill()
            self._balancer.wait(10)
        for one in self.servers:
            with suppress(ProcessLookupError, FileNotFoundError, AssertionError):
                one.go_on()
            one.close()


@contextmanager
def replicas(folder: Path, *, weather: Weather | None = None, **tables: Any) -> Iterator[Replicas]:
    """Run all of it as long as the body does.

    Args:
        weather: what befalls requests to the store.
    """
    with postgres() as database, seaweed() as store, ExitStack() as stack:
        endpoint = None
        if weather is not None:
            proxy = stack.enter_context(proxy_to(store.endpoint))
            proxy.keeps, proxy.weather = False, weather
            endpoint = proxy.endpoint
        made = Replicas(folder, database, store, endpoint=endpoint, **tables)
        try:
            made.start()
            yield made
        finally:
            made.close()
