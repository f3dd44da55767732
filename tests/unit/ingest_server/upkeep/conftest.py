from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.core_site import CoreSite


@pytest.fixture
def site(tmp_path: Path) -> Iterator[CoreSite]:
    """A server over files: what keeps house is about what a person finds in a folder."""
    site = CoreSite(tmp_path / "data")
    yield site
    site.stop()
