"""The commands that the pages show: each is run by a test, or says why not.

Above each fence of commands stands one of::

    <!-- run: STAGE -->                  in order with the others of that stage on the page
    <!-- run in the background: STAGE --> and left running while the next ones run
    <!-- not run: REASON -->

Above a file's text may stand ``<!-- file: PATH -->``: a test then writes it there.

A *stage* is what a block needs around it: a server, a broker, a booted Debian. `STAGES` names the test of each.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for where in (ROOT, ROOT / "docs", ROOT / "docs/adr")
    for path in where.glob("*.md")
    if path.name != "CHANGELOG.md"
)
COMMANDS = frozenset({"console", "sh", "bash", "python", "js"})
"""The languages of what a reader runs; for Python and JavaScript, the whole block is one program."""

SHOWN = frozenset({"text", "toml", "json", "yaml", "http", "{toctree}", "{eval-rst}"})
"""The languages of what a reader only looks at."""

STAGES = {
    "clone": "tests/system/test_clone.py",
    "debian": "tests/system/test_pages_on_debian.py",
    "own-ca": "tests/system/test_pages_tls.py",
    "recorders": "tests/system/test_recorders.py",
    "site": "tests/system/test_pages.py",
    "two machines, the device": "tests/system/test_pages_tls.py",
    "two machines, the server": "tests/system/test_pages_tls.py",
}
"""What a block needs -> the test that runs all blocks of it."""

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\S*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_MARK = re.compile(r"<!-- (?P<verb>run|run in the background|not run|file): (?P<what>[^>]+?) -->\Z")


@dataclass(frozen=True)
class Block:
    """One fence of a page."""

    page: str
    line: int
    language: str
    text: str
    verb: str
    """``run``, ``run in the background``, ``not run``, ``file``, or nothing where no mark stands above it."""
    what: str
    """The stage, the reason, or the path."""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str:
        """The file that a program is saved as: the first word of its first comment."""
        return self.text.split(maxsplit=2)[1].rstrip(":")

    def commands(self) -> list[str]:
        """Return what a reader types, one command each; of a program, all of it."""
        if self.language != "console":
            return [self.text]
        found: list[str] = []
        for line in self.text.splitlines():
            if found and found[-1].endswith(("\\", "|")):
                found[-1] += "\n" + line.strip()
            elif line.startswith(("$ ", "# ")):
                found.append(line[2:])
        return found


def blocks(page: Path) -> Iterator[Block]:
    """Yield every fence of a page, from the top."""
    text = (ROOT / page).read_text("utf-8")
    for fence in _FENCE.finditer(text):
        mark = _MARK.search(text[: fence.start()].rstrip())
        line = text.count("\n", 0, fence.start()) + 1
        verb, what = (mark["verb"], " ".join(mark["what"].split())) if mark else ("", "")
        yield Block(str(page), line, fence["language"], fence["text"], verb, what)


def of_stage(stage: str) -> dict[str, list[Block]]:
    """Return page -> its blocks of a stage, in order."""
    found: dict[str, list[Block]] = {}
    for page in PAGES:
        for block in blocks(page):
            if block.verb.startswith("run") and block.what == stage:
                found.setdefault(block.page, []).append(block)
    return found


def adapted(command: str, changes: Mapping[str, str]) -> str:
    """Return a command with the names of a reader's world replaced by those of the test's."""
    for theirs, ours in changes.items():
        command = command.replace(theirs, ours)
    return command


def run(command: str, folder: Path, variables: Mapping[str, str], input_: str = "") -> str:
    """Run a command as a reader's shell does; return what it printed.

    Raises:
        AssertionError: it failed; with what it said.
    """
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=dict(variables),
        input=input_,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout}"
    return done.stdout
