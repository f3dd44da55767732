"""The environment that `make run` makes: what goes wrong while it is made is one sentence."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
NOWHERE = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
}
"""An index that refuses to talk."""


def make(folder: Path, **environment: str) -> subprocess.Popen[str]:
    command: list[str | Path] = [sys.executable, ROOT / "demo/environment.py", folder, "run"]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )


def test_without_a_network_it_says_so_and_the_next_try_begins_anew(tmp_path):
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    half = next(folder.glob("lib/python*/site-packages")) / "pip/__init__.py"
    half.parent.mkdir()
    half.touch()  # it can be imported, and does nothing
    (folder / ".unfinished").touch()

    first, _ = make(folder, **NOWHERE).communicate(timeout=100)
    again = make(folder, **NOWHERE)
    second, _ = again.communicate(timeout=100)

    told = first.splitlines()
    assert told[1:] == [
        "The packages cannot be installed: the package index cannot be reached, or lacks it: look at the"
        f" network, and at pip's settings. pip's own words are in {folder}/pip.log."
    ]
    assert (again.returncode, second) == (1, first)
    assert not (folder / ".installed-run").exists()


def test_a_second_make_waits_for_the_first_and_ctrl_c_ends_both_with_a_sentence(tmp_path):
    folder = tmp_path / "venv"
    first = make(folder, **NOWHERE)
    wait_for((folder / ".make.lock").exists, "the first one has begun")
    second = make(folder, **NOWHERE)
    assert second.stdout is not None
    waits = second.stdout.readline()

    for one in (second, first):
        os.killpg(one.pid, signal.SIGINT)  # as a terminal does

    said = [one.communicate(timeout=60)[0] for one in (first, second)]
    assert waits == "Another make installs into venv: waiting for it ...\n"
    assert all(
        text.splitlines()[-1] == "Stopped while installing; the same command goes on."
        for text in said
    )
    assert (first.returncode, second.returncode) == (130, 130)


def test_a_python_that_is_too_old_is_named_with_what_to_do(tmp_path):
    program = (
        "import sys; sys.version_info = (3, 9, 2)\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from demo.environment import main\n"
        f"sys.exit(main([{str(tmp_path / 'venv')!r}, 'run']))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr == (
        f"Python 3.11 or newer is needed, and this is 3.9.2 ({sys.executable}): name a newer one, as"
        " make PYTHON=python3.11 run.\n"
    )
