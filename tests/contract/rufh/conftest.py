"""A server that speaks the IETF's draft, on our own container and on plain WSGI."""

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
def running(server):
    with serving(server.app) as found:
        yield found


@pytest.fixture(params=["own container", "plain WSGI"])
def client(request, server):
    if request.param == "plain WSGI":
        with httpx.Client(
            transport=httpx.WSGITransport(app=server.app), base_url="http://localhost"
        ) as found:
            yield found
        return
    with serving(server.app) as running, plain_client(running.address.url) as found:
        yield found


@pytest.fixture
def own(running):
    with plain_client(running.address.url) as found:
        yield found
