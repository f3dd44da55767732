"""A server in open mode, and its client: on our own container, on plain WSGI, or where that makes no difference."""

import httpx
import pytest

from tests.support.ingest import ingest
from tests.support.plain import plain_client
from tests.support.raw_http import serving


@pytest.fixture
def server(tmp_path):
    with ingest() as made:
        yield made


@pytest.fixture
def container(server):
    with serving(server.app) as running:
        yield running


@pytest.fixture(params=["own container", "plain WSGI"])
def client(request, server):
    if request.param == "plain WSGI":
        with httpx.Client(
            transport=httpx.WSGITransport(app=server.app), base_url="http://localhost"
        ) as found:
            yield found
        return
    with plain_client(request.getfixturevalue("container").address.url) as found:
        yield found


@pytest.fixture
def wsgi(server):
    """Where the container makes no difference."""
    transport = httpx.WSGITransport(app=server.app)
    with httpx.Client(transport=transport, base_url="http://localhost") as found:
        yield found
