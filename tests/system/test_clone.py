"""What somebody does who has just found the project: the overview's steps and the tutorial, word for word."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pages import ROOT, Block, adapted, blocks, of_stage
from tests.support.processes import wait_for
from tests.support.recordings import make_recording
from tests.support.requirements import require, require_root
from tests.support.typed import as_typed

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

PAGES = of_stage("clone")
NAMES = {"REPOSITORY": str(ROOT), "holiday.mp4": "media/holiday.mp4"}
PASSWORD = "correct horse battery\n"
_TOLD = re.compile(r"\d\d:\d\d:\d\d  ")
"""How a line begins that `make run` prints when something happens."""
_ALONE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


class Desk:
    """A machine on which nothing else runs, with a first terminal and a second one.

    Args:
        has_network: whether what is to be installed can be fetched.
    """

    def __init__(self, folder: Path, *, has_network: bool) -> None:
        require_root()
        self.folder, self.clone = folder, folder / "edge-uploader"
        self._has_network = has_network
        script = "ip link set lo up; echo made; exec sleep infinity"
        alone = _ALONE if has_network else [*_ALONE, "--net"]
        self._holder = subprocess.Popen(
            [*alone, "sh", "-ec", script], stdout=subprocess.PIPE, text=True
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "made\n"
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text()
        self._enter = ["nsenter", "--target", children.split()[0], "--mount", "--net", "--pid"]
        self._terminal = folder / "first-terminal"
        self._terminal.touch()
        self._seen = 0
        self._first: subprocess.Popen[bytes] | None = None

    def follow(self, block: Block) -> None:
        """Type what a block says."""
        self._seen = len(self._terminal.read_text())
        for command in block.commands():
            where = self.clone if self.clone.exists() else self.folder
            script = f"cd {where} && {adapted(command, NAMES)}"
            shell = [*self._enter, "bash", "-euc", script]
            is_first = block.verb == "run in the background"
            with self._terminal.open("ab") as terminal:
                typed = subprocess.Popen(
                    shell,
                    env=as_typed(),
                    stdin=subprocess.PIPE,
                    stdout=terminal if is_first else subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
            if is_first:
                self._first = typed
                self.wait_for_line("06:56:19  agent      is online")
                continue
            said, _ = typed.communicate(PASSWORD.encode(), timeout=300)
            assert typed.returncode == 0, (
                f"$ {command}\n{said.decode()}{self._terminal.read_text()}"
            )
            if command.startswith("git clone") and not self._has_network:
                self._bring_what_would_be_installed()

    def _bring_what_would_be_installed(self) -> None:
        environment = self.clone / ".venv"
        environment.mkdir()
        for one in Path(sys.prefix).iterdir():
            (environment / one.name).symlink_to(one)
        later = (self.clone / "pyproject.toml").stat().st_mtime + 3600
        (environment / ".installed-run").unlink(missing_ok=True)
        (environment / ".installed-run").touch()
        os.utime(environment / ".installed-run", (later, later))

    def wait_for_line(self, line: str) -> None:
        """Wait until the first terminal shows such a line; figures, names and places are others."""
        literal = re.escape(line.strip()).replace(re.escape("/home/pi/edge-uploader"), r"\S+?")
        literal = re.sub(r"\d+(?:\\\.\d+)?", r"[\\d.]+", literal).replace("…", ".*")
        form = re.compile(re.sub(r"(?:\\ )+", r"\\s+", literal))
        try:
            wait_for(lambda: form.search(self._terminal.read_text()[self._seen :]), line, 180)
        except TimeoutError as error:
            error.add_note(f"{form.pattern}\n{self._terminal.read_text()}")
            raise

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()
        if self._first is not None:
            self._first.communicate(timeout=30)


def desk(folder: Path, *, has_network: bool) -> Iterator[Desk]:
    for program in ("unshare", "nsenter", "git", "make", "mosquitto"):
        require(program)
    one = Desk(folder, has_network=has_network)
    try:
        yield one
    finally:
        one.close()


@pytest.fixture
def at_home(tmp_path):
    yield from desk(tmp_path, has_network=False)


@pytest.fixture
def from_nothing(tmp_path):
    yield from desk(tmp_path, has_network=True)


def follow(one: Desk, page: str) -> None:
    for block in blocks(Path(page)):
        if block.what == "clone":
            if "holiday.mp4" in block.text:
                make_recording(one.clone / "media/holiday.mp4")
            one.follow(block)
        elif block.language == "text":
            for line in filter(_TOLD.match, block.text.splitlines()):
                one.wait_for_line(line)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[] if page == "README.md" else pytest.mark.nightly)
        for page in PAGES
    ],
)
def test_a_page_for_newcomers_is_followed_word_for_word(at_home, page):
    follow(at_home, page)


@pytest.mark.nightly
def test_the_tutorial_is_followed_on_a_machine_that_has_to_install_everything(from_nothing):
    follow(from_nothing, "docs/tutorial.md")
