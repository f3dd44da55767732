"""docs/protocol.md says what the code does."""

import re
from pathlib import Path

from ingest_server.core.names import MAX_FOLDER_LEVELS, MAX_NAME_BYTES
from upload_protocol.problems import PROBLEMS

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "protocol.md").read_text()


def test_the_page_lists_every_problem_as_it_is():
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \| (yes|no) \| (.+) \|$", PAGE, re.MULTILINE)

    assert {code: (int(status), again == "yes", title) for code, status, again, title in rows} == {
        code: (kind.status, kind.retryable, kind.title) for code, kind in PROBLEMS.items()
    }


def test_the_examples_have_the_length_that_they_say():
    examples = re.findall(r"^Content-Length: (\d+)\n\n(.+)$", PAGE, re.MULTILINE)

    assert len(examples) == 3
    for length, body in examples:
        assert len(body) == int(length), body


def test_the_pages_say_how_deep_a_folder_may_lie():
    said = f"At most {MAX_NAME_BYTES} bytes and {MAX_FOLDER_LEVELS} levels |"
    help_for_it = f"it is more than {MAX_FOLDER_LEVELS} folders deep, or its path has more than {MAX_NAME_BYTES} bytes"

    assert said in PAGE
    assert help_for_it in (DOCS / "troubleshooting.md").read_text()
