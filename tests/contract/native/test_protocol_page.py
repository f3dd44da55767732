"""docs/protocol.md says what the code does."""

import re
from pathlib import Path

from upload_protocol.problems import PROBLEMS

PAGE = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()


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
