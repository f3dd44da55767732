"""What a thread is told about a request ends with it, on our server and on any other."""

import structlog
from falcon import testing

from ingest_server.auth import admitted
from tests.support.ingest import ingest


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
