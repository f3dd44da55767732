from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.core_site import CoreSite


@pytest.fixture
def site(tmp_path: Path) -> Iterator[CoreSite]:
    site = CoreSite(tmp_path / "data")
    yield site
    site.stop()
