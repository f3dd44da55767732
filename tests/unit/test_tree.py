"""How the tree is laid out: no rules inside files, a test beside the room that it is about, files that one can read."""

import io
import re
import subprocess
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("edge_agent", "edge_host", "ingest_server", "upload_protocol")
MOST_LINES = 500
"""Of a file of tests: one that has more tests two things."""
_RULE = re.compile(r"#+\s*([-=~*_#─═])\1{2,}")
_MAYBE = re.compile(rf"{_RULE.pattern}|\n[ \t]*\n[ \t]*#[^\n]*\n[ \t]*\n")
"""What a file has that is divided, and few others: to take all of them apart takes seconds."""


def sources() -> list[Path]:
    """Return the Python files that belong to the tree, also those that are not committed yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.py"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    paths = {ROOT / one for one in listed.decode().split("\0") if one}
    return sorted(path for path in paths if path.exists())


def rules(source: str) -> list[str]:
    """Return the comments that divide *source* into sections.

    That is a comment with a rule in it, and one that stands between two gaps, so that it belongs to no
    line of the program but to all that follow.
    """
    if not _MAYBE.search(f"{source}\n\n"):
        return []
    lines = ["", *source.splitlines(), ""]
    found = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        is_first = not lines[line][: token.start[1]].strip()
        is_alone = is_first and lines[line - 1] == lines[line + 1] == ""
        if _RULE.match(token.string) or (is_alone and line > 1):
            found.append(f"{line}: {token.string}")
    return found


def test_a_rule_and_a_heading_are_told_from_a_comment():
    source = '''\
#!/usr/bin/env python
# --- the first thing ---

ONE = """
# --- no comment ---
"""
# why it is two
TWO = 2  # not 3


# The second thing.


class Three:
    # ===
    three = 3

    # of the third

    third = 3  # alone in its gap

    # why it is three
    other = 3
'''

    assert rules(source) == [
        "2: # --- the first thing ---",
        "11: # The second thing.",
        "15: # ===",
        "18: # of the third",
    ]


def test_no_file_is_divided_by_rules():
    """A file that needs them wants to be two."""
    divided = {str(path.relative_to(ROOT)): rules(path.read_text("utf-8")) for path in sources()}

    assert {path: found for path, found in divided.items() if found} == {}


def test_unit_tests_stand_where_what_they_test_stands():
    """`tests/unit/PACKAGE/ROOM` for `PACKAGE/ROOM`: a room that moves takes its tests along."""
    folders = {
        path.parent.relative_to(ROOT / "tests/unit")
        for path in sources()
        if path.name.startswith("test_") and path.is_relative_to(ROOT / "tests/unit")
    }
    rooms = {folder for folder in folders if folder.parts and folder.parts[0] in PACKAGES}

    assert {str(room) for room in rooms if not (ROOT / room).is_dir()} == set()
    assert {room.parts[0] for room in rooms} == set(PACKAGES)


def test_no_file_of_tests_has_more_lines_than_one_reads():
    long = {
        str(path.relative_to(ROOT)): count
        for path in sources()
        if path.is_relative_to(ROOT / "tests")
        and (count := len(path.read_text("utf-8").splitlines())) > MOST_LINES
    }

    assert long == {}
