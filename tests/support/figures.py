"""A server whose figures are looked at, by one scrape after the other, and what is uploaded to it."""

import base64
import hashlib
import http.client
from contextlib import contextmanager

from prometheus_client.parser import text_string_to_metric_families

from ingest_server.config import load
from ingest_server.front.address import ListenAddress
from ingest_server.notify.metrics import Metrics
from ingest_server.server import IngestServer
from tests.support.processes import toml

DATA = b"a recording, or at least its first bytes"
LENGTH = len(DATA)


def digest_of(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


class Figures(dict[tuple[str, frozenset[tuple[str, str]]], float]):
    """The samples of one scrape by name and labels."""

    @classmethod
    def of(cls, text: str) -> "Figures":
        found = cls()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name, frozenset(sample.labels.items())] = sample.value
        return found

    def value(self, name: str, **labels: str) -> float | None:
        return self.get((name, frozenset(labels.items())))

    def names(self) -> set[str]:
        return {name for name, _ in self}


def figures(metrics: Metrics) -> Figures:
    return Figures.of(metrics.exposition()[0].decode())


def create(client, key="0123456789abcdef", length=LENGTH) -> str:
    document = {"name": "clip.mp4", "length": length, "device": "drone-1"}
    answer = client.post("/v1/uploads", json=document, headers={"Idempotency-Key": key})
    return answer.json()["id"]


def put(client, upload_id, data=DATA, *, total=LENGTH, **headers) -> int:
    headers["Content-Range"] = f"bytes 0-{len(data) - 1}/{total}"
    url = f"/v1/uploads/{upload_id}/content"
    return client.put(url, content=data, headers=headers).status_code


def complete(client, upload_id, data=DATA) -> int:
    document = {"length": len(data), "digest": digest_of(data)}
    return client.post(f"/v1/uploads/{upload_id}/complete", json=document).status_code


@contextmanager
def running(tmp_path, metrics_listen="127.0.0.1:0", mode="token"):
    path = tmp_path / "server.toml"
    path.write_text(
        toml(
            {
                "server": {
                    "listen": "127.0.0.1:0",
                    "data_dir": tmp_path / "data",
                    "stop_timeout_s": 1.0,
                },
                "auth": {"mode": mode},
                "limits": {"min_free": 0},
                "metrics": {"listen": metrics_listen},
            }
        )
    )
    server = IngestServer(load(path, environ={}))
    server.start()
    try:
        yield server
    finally:
        server.stop()


def ask(
    address: ListenAddress, path: str, method: str = "GET", **headers
) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=5)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()
