from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.core_site import STORES, CoreSite


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CoreSite]:
    """A server that waits for no disk, unless a test is `on_disk` or `on_all_stores`."""
    site = CoreSite(STORES[getattr(request, "param", "memory")](tmp_path / "data"))
    yield site
    site.stop()
