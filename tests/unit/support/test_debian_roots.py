"""The small Debian systems of the long tests: made once, whoever asks for them at the same time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import wait_for
from tests.support.requirements import require_root

pytestmark = pytest.mark.slow

TREE = Path(__file__).parents[3]
MAKER = """#!/bin/sh
eval made=\\${$#} # the last one
mkdir -p "$made/etc" && echo made >> "$0.log" && sleep 0.3 && touch "$made/etc/debian_version"
"""


@pytest.fixture
def maker(tmp_path):
    """Make what is found in place of the program that makes such systems; tests write it."""
    require_root()
    found = tmp_path / "bin" / "mmdebstrap"
    found.parent.mkdir()
    found.touch(0o755)
    return found


def asking(maker, *arguments):
    env = os.environ | {
        "EDGE_UPLOADER_ROOTS": str(maker.parents[1] / "roots"),
        "PATH": f"{maker.parent}:{os.environ['PATH']}",
    }
    asks = f"from tests.support.debian_roots import debian_root; print(debian_root(*{arguments}))"
    return subprocess.Popen(
        [sys.executable, "-c", asks], cwd=TREE, env=env, stdout=subprocess.PIPE, text=True
    )


def test_one_that_is_there_waits_for_no_other_to_be_made(maker, tmp_path):
    os.mkfifo(tmp_path / "bin" / "goes-on")
    maker.write_text('#!/bin/sh\necho > "$0.begun"; read -r _ < "${0%/*}/goes-on"; exit 1\n')
    there = tmp_path / "roots" / "bookworm-amd64"
    (there / "etc").mkdir(parents=True)
    (there / "etc/debian_version").touch()
    slow = asking(maker, "amd64", "trixie")
    wait_for(maker.with_name("mmdebstrap.begun").exists, "the other one is being made", 30)

    try:
        said = asking(maker).communicate(timeout=30)[0].strip()
    finally:
        (tmp_path / "bin" / "goes-on").write_text("\n")
        slow.communicate(timeout=30)

    assert said == str(there)


def test_two_that_want_the_same_at_a_time_get_the_same_whole_one(maker, tmp_path):
    maker.write_text(MAKER)
    both = [asking(maker) for _ in range(2)]

    said = [one.communicate(timeout=30)[0].strip() for one in both]

    assert [one.returncode for one in both] == [0, 0]
    assert set(said) == {str(tmp_path / "roots" / "bookworm-amd64")}
    assert (tmp_path / "roots" / "bookworm-amd64" / "etc/debian_version").is_file()
    assert maker.with_name("mmdebstrap.log").read_text() == "made\n"
