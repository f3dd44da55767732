"""A server that speaks all dialects, and a client of it: on each container, or where that makes no difference."""

import pytest

from ingest_server.protocols.compat.dialect import CompatSettings
from tests.support.compat_site import KINDS, compat_site


@pytest.fixture
def compat_settings():
    return CompatSettings()


@pytest.fixture(params=[KINDS[0], pytest.param(KINDS[1], marks=pytest.mark.slow)])
def site(request, tmp_path, compat_settings):
    with compat_site(tmp_path, request.param, compat=compat_settings) as found:
        yield found


@pytest.fixture
def wsgi(tmp_path, compat_settings):
    with compat_site(tmp_path, compat=compat_settings) as found:
        yield found
