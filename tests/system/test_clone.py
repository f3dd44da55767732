"""What somebody does who has just found the project: the overview's steps and the tutorial, word for word."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.booted import booted
from tests.support.debian_roots import debian_root
from tests.support.pages import ROOT, Block, adapted, blocks, of_stage
from tests.support.processes import wait_for
from tests.support.recordings import make_recording
from tests.support.requirements import require, require_root

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

PAGES = of_stage("clone")
NEEDED = ("git", "make", "python3-venv")
"""As the tutorial has it."""
INDEX = ("PIP_CERT", "PIP_INDEX_URL", "HTTPS_PROXY")
"""What tells pip on this machine where packages are."""
PASSWORD = "correct horse battery\n"
_TOLD = re.compile(r"\d\d:\d\d:\d\d  ")
"""How a line begins that `make run` prints when something happens."""
_ALONE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--net"]


class Desk:
    """A machine on which nothing else runs, with a first terminal and a second one.

    Args:
        folder: where the clone is to be, as the tests see it.
        enter: the command that starts another one there.
        home: the folder as that one sees it.
        repository: what is cloned, as that one sees it.
    """

    def __init__(self, folder: Path, enter: list[str], home: Path, repository: Path) -> None:
        self.folder, self.clone = folder, folder / "edge-uploader"
        self._enter, self._home = enter, home
        self._names = {"REPOSITORY": str(repository), "holiday.mp4": "media/holiday.mp4"}
        self._terminal = folder / "first-terminal"
        self._terminal.touch()
        self._seen = 0
        self._first: subprocess.Popen[bytes] | None = None

    def follow(self, block: Block) -> None:
        """Type what a block says."""
        self._seen = len(self._terminal.read_text())
        for command in block.commands():
            where = self._home / "edge-uploader" if self.clone.exists() else self._home
            script = f"cd {where} && {adapted(command, self._names)}"
            shell = [*self._enter, "bash", "-euc", script]
            is_first = block.verb == "run in the background"
            with self._terminal.open("ab") as terminal:
                typed = subprocess.Popen(
                    shell,
                    env={name: v for name, v in os.environ.items() if not name.startswith("MAKE")},
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
            if command.startswith("git clone"):
                self.cloned()

    def cloned(self) -> None:
        """Do what is to be done before anything is started."""

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
        if self._first is not None:
            self._first.communicate(timeout=30)


class Alone(Desk):
    """This machine, without its network and with what would be installed, where nothing else runs."""

    def __init__(self, folder: Path) -> None:
        require_root()
        script = "ip link set lo up; echo made; exec sleep infinity"
        self._holder = subprocess.Popen(
            [*_ALONE, "sh", "-ec", script], stdout=subprocess.PIPE, text=True
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "made\n"
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text()
        enter = ["nsenter", "--target", children.split()[0], "--mount", "--net", "--pid"]
        super().__init__(folder, enter, folder, ROOT)

    def cloned(self) -> None:
        environment = self.clone / ".venv"
        environment.mkdir()
        for one in Path(sys.prefix).iterdir():
            (environment / one.name).symlink_to(one)
        later = (self.clone / "pyproject.toml").stat().st_mtime + 3600
        (environment / ".installed-run").unlink(missing_ok=True)
        (environment / ".installed-run").touch()
        os.utime(environment / ".installed-run", (later, later))

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()
        super().close()


@pytest.fixture
def at_home(tmp_path):
    for program in ("unshare", "nsenter", "git", "make", "mosquitto"):
        require(program)
    one = Alone(tmp_path)
    try:
        yield one
    finally:
        one.close()


@pytest.fixture
def fresh_machine(tmp_path):
    """A Debian that has just been installed and booted, with what the tutorial says that it needs."""
    root = debian_root("amd64", "bookworm", *NEEDED)
    with booted(root, tmp_path / "machine", "eu-tutorial") as machine:
        home = machine.files / "root"
        subprocess.run(["git", "clone", "--quiet", "--bare", ROOT, home / "project"], check=True)
        for way_out in ("/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt"):
            shutil.copy(way_out, f"{machine.files}{way_out}")
        reach = [f"{name}={os.environ[name]}" for name in INDEX if name in os.environ]
        desk = Desk(home, machine.command(*reach), Path("/root"), Path("/root/project"))
        try:
            yield desk
        finally:
            machine.ask("pkill -INT -f demo")
            desk.close()


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
@pytest.mark.timeout(1800)
def test_the_tutorial_is_followed_on_a_machine_that_was_just_installed_and_booted(fresh_machine):
    follow(fresh_machine, "docs/tutorial.md")
