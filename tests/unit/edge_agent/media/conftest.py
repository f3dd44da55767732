"""What most tests of the folder of recordings begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rim import WatchedFolder, watched_folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[WatchedFolder]:
    with watched_folder(tmp_path) as made:
        yield made
