"""What operators' hook files import stays where it is."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from ingest_server.core.errors import Refused
from ingest_server.notify import hooks

DOCUMENT = Path(__file__).parents[3] / "docs" / "webhooks.md"
STANDING_FOR_THE_OPERATOR = """

indexed = []
index = indexed.append


def scan(path):
    return b"virus" in path.read_bytes()
"""


@pytest.fixture
def documented(tmp_path, monkeypatch):
    """The name of a module with the example of the documentation, as an operator copies it."""
    (example,) = re.findall(
        r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE
    )
    assert example.startswith("from ingest_server.hooks import RefuseUpload\n")
    (tmp_path / "documented_hooks.py").write_text(example + STANDING_FOR_THE_OPERATOR)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "documented_hooks", raising=False)
    return "documented_hooks"


def test_the_hook_file_of_the_documentation_refuses_an_upload(site, documented, tmp_path):
    check = hooks.before_publish(hooks.load("before_publish", f"{documented}:check"))
    record = site.store.find(None, site.create())
    clean, infected = tmp_path / "clean", tmp_path / "infected"
    clean.write_bytes(b"frames")
    infected.write_bytes(b"a virus")

    check(record, clean)
    with pytest.raises(Refused, match="upload-refused: the scanner found something"):
        check(record, infected)


def test_the_hook_file_of_the_documentation_is_told_of_an_upload(documented):
    completed = hooks.load("completed", f"{documented}:completed")

    completed({"data": {"published_as": "cam/a.mp4"}})

    index: Any = hooks.load("completed", f"{documented}:index")
    assert index.__self__ == ["cam/a.mp4"]
