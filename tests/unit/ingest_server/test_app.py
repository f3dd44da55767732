"""What a thread is told about a request ends with it, on our server and on any other."""

import errno

import structlog
from falcon import testing
from structlog.testing import capture_logs

from ingest_server.auth import admitted
from ingest_server.each_request import StoreFailures
from ingest_server.front.queues import ASKED
from ingest_server.storage.memory.overwriting import OverwritingBlobs
from ingest_server.storage.memory.state import MemoryState
from tests.support.ingest import ingest
from tests.support.plain import wsgi_client
from tests.support.secured import create, upload


def test_a_thread_that_answered_a_request_works_for_nobody_afterwards():
    with ingest(mode="token") as server:
        authorization = f"Bearer {server.token('cam')}"
        client = testing.TestClient(server.app, headers={"Authorization": authorization})
        answer = client.simulate_post(
            "/v1/uploads", headers={"Idempotency-Key": "k" * 22}, json={"name": "a.mp4"}
        )

    assert answer.status_code == 201
    assert admitted.question() is admitted.for_itself
    assert structlog.contextvars.get_contextvars() == {}


class Asked:
    """Hears whose a credential is."""

    has_too_many = False
    is_small = False

    def __init__(self) -> None:
        self.heard: list[str | None] = []

    def is_of(self, device: str) -> None:
        self.heard.append(device)

    def is_nobodys(self) -> None:
        self.heard.append(None)


def test_the_front_hears_whose_a_credential_is_and_that_it_is_good_no_more():
    with ingest(mode="token") as server:
        authorization = f"Bearer {server.token('cam')}"
        client = testing.TestClient(server.app, headers={"Authorization": authorization})
        asked = Asked()
        answers = []
        for _ in range(2):
            answers.append(client.simulate_get("/v1/uploads", extras={ASKED: asked}))
            server.state.access.revoke("cam")

    assert [one.status_code for one in answers] == [200, 401]
    assert asked.heard == ["cam", None]


class FailingBlobs(OverwritingBlobs):
    """A store that may fail when it is asked about a published file."""

    fails_with: OSError | None = None

    def identity(self, target):
        if self.fails_with is not None:
            raise self.fails_with
        return super().identity(target)


def test_a_store_that_fails_is_told_of_in_the_log_once_a_minute_however_many_ask():
    failures = StoreFailures()
    with capture_logs() as logs:
        for now_s in (0.0, 59.0, 60.0):
            failures.tell("storage-failed", "it is away", now_s)
            failures.tell("storage-full", "it is full", now_s)
            failures.tell("not-found", "nothing is there", now_s)

    told = [one["error"].partition(". ")[0] for one in logs]
    assert told == ["requests are refused: it is away", "requests are refused: it is full"] * 2


def test_a_store_that_fails_where_nobody_expects_it_is_said_to_the_client_and_is_no_bug():
    blobs = FailingBlobs()
    with ingest(stores=(MemoryState(), blobs)) as server, wsgi_client(server.app) as client:
        receipt = upload(client, name="a.mp4", device="cam")
        asked = {"name": "a.mp4", "device": "cam", "digest": receipt["digest"]}
        blobs.fails_with = PermissionError(errno.EACCES, "the key may not do this")
        refused = create(client, **asked).json()
        blobs.fails_with = OSError(errno.EBUSY, "nobody answers there")
        busy = create(client, **asked)

    assert (refused["code"], "the key may not do this" in refused["detail"]) == (
        "storage-failed",
        True,
    )
    assert (busy.status_code, busy.json()["code"]) == (503, "server-busy")
    assert busy.headers["Retry-After"] == "5"


def test_descriptors_that_are_used_up_are_no_fault_of_the_disk_and_clients_come_back():
    blobs = FailingBlobs()
    with ingest(stores=(MemoryState(), blobs)) as server, wsgi_client(server.app) as client:
        receipt = upload(client, name="a.mp4", device="cam")
        blobs.fails_with = OSError(errno.EMFILE, "Too many open files")
        refused = create(client, name="a.mp4", device="cam", digest=receipt["digest"])

    assert (refused.status_code, refused.json()["code"]) == (503, "server-busy")
    assert "Too many open files" in refused.json()["detail"]
    assert refused.headers["Retry-After"] == "5"
