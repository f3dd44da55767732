"""The small Debian systems of the long tests: made once, whoever asks for them at the same time."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.requirements import require_root

TREE = Path(__file__).parents[3]
MAKER = """#!/bin/sh
eval made=\\${$#} # the last one
mkdir -p "$made/etc" && echo made >> "$0.log" && sleep 0.3 && touch "$made/etc/debian_version"
"""


def test_two_that_want_the_same_at_a_time_get_the_same_whole_one(tmp_path):
    require_root()
    maker = tmp_path / "bin" / "mmdebstrap"
    maker.parent.mkdir()
    maker.write_text(MAKER)
    maker.chmod(0o755)
    env = os.environ | {
        "EDGE_UPLOADER_ROOTS": str(tmp_path / "roots"),
        "PATH": f"{maker.parent}:{os.environ['PATH']}",
    }
    asks = "from tests.support.debian_roots import debian_root; print(debian_root())"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", asks], cwd=TREE, env=env, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]

    said = [one.communicate(timeout=30)[0].strip() for one in both]

    assert [one.returncode for one in both] == [0, 0]
    assert set(said) == {str(tmp_path / "roots" / "bookworm-amd64")}
    assert (tmp_path / "roots" / "bookworm-amd64" / "etc/debian_version").is_file()
    assert maker.with_name("mmdebstrap.log").read_text() == "made\n"
