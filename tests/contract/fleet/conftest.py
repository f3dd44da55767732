"""A server that knows its devices by their tokens, and an operator."""

from collections.abc import Iterator

import pytest

from tests.support.fleet import Site
from tests.support.ingest import ingest


@pytest.fixture
def site() -> Iterator[Site]:
    with ingest(mode="token") as server:
        yield Site(server)
