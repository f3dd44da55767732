from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.report_server import ReportServer
from tests.support.reports import Reports


@pytest.fixture
def server() -> Iterator[ReportServer]:
    """A server that takes reports, over a real socket."""
    with ReportServer() as one:
        yield one


@pytest.fixture
def agent(server: ReportServer, tmp_path: Path) -> Iterator[Reports]:
    """What reports to `server`, in virtual time."""
    with Reports(tmp_path, server.url) as one:
        yield one
