"""A server in open mode, and its clients: on our own container, on plain WSGI, or where that makes no difference."""

import pytest

from tests.support.ingest import ingest
from tests.support.plain import plain_client, wsgi_client
from tests.support.raw_http import serving


@pytest.fixture
def server():
    with ingest() as made:
        yield made


@pytest.fixture
def running(server):
    """The server on our own container."""
    with serving(server.app) as found:
        yield found


@pytest.fixture(params=["own container", pytest.param("plain WSGI", marks=pytest.mark.slow)])
def client(request):
    """On each container."""
    return request.getfixturevalue("wsgi" if request.param == "plain WSGI" else "own")


@pytest.fixture
def own(running):
    with plain_client(running.address.url) as found:
        yield found


@pytest.fixture
def wsgi(server):
    """Where the container makes no difference."""
    with wsgi_client(server.app) as found:
        yield found
