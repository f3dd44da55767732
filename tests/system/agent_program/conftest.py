"""A server, and an agent that is configured for it and not started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import Agent, Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server"))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    return server.new_token()


@pytest.fixture
def agent(tmp_path: Path, server: Server, token: str) -> Iterator[Agent]:
    made = Agent(tmp_path / "device", url=f"http://127.0.0.1:{server.port}", token=token)
    yield made
    made.close()
