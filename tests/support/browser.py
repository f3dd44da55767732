"""A headless Chromium that a test tells what to do."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.requirements import missing, require

JS = Path(__file__).parents[1] / "system" / "js"


def node_with_packages() -> Path:
    """Return node, with the packages of ``tests/system/js`` installed once."""
    program = require("node")
    npm = require("npm")
    wanted = (JS / "package.json").read_text()
    with _alone_in(JS):
        stamp = JS / "node_modules" / ".installed"
        if not stamp.exists() or stamp.read_text() != wanted:
            _install(npm)
            stamp.write_text(wanted)
    return program


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Two that install into one folder at a time take files away from each other, and neither says so."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _install(npm: Path) -> None:
    command: list[str | Path] = [
        npm,
        "install",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--silent",
    ]
    done = subprocess.run(command, cwd=JS, check=False, timeout=150, capture_output=True)
    if done.returncode:
        missing(f"npm could not install the clients: {done.stderr.decode()[-300:]}")


class Browser:
    """One page of one browser. What it shows is asked for as JavaScript."""

    def __init__(self, node: Path) -> None:
        asked = {"chromium": str(require("chromium"))}
        self._process = subprocess.Popen(
            [node, JS / "driver.mjs", json.dumps(asked)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._asks, self._answers = self._process.stdin, self._process.stdout
        self._answer()

    def _answer(self) -> Any:
        line = self._answers.readline()
        assert line, "the browser has ended"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer.get("value")

    def do(self, what: str, **more: Any) -> Any:
        self._asks.write(json.dumps({"do": what, **more}) + "\n")
        self._asks.flush()
        return self._answer()

    def goto(self, url: str) -> None:
        self.do("goto", url=url)

    def wait(self, code: str) -> None:
        """Wait until *code* is true in the page."""
        self.do("wait", code=code)

    def wait_text(self, text: str, selector: str = "body") -> None:
        self.wait(f"{_plain(selector)}.includes({json.dumps(text)})")

    def evaluate(self, code: str) -> Any:
        return self.do("evaluate", code=code)

    def text(self, selector: str = "body") -> str:
        """Return what the first element that fits shows; each space is a plain one."""
        return self.evaluate(_plain(selector))

    def texts(self, selector: str) -> list[str]:
        """Return what each element that fits shows."""
        return self.evaluate(
            f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.innerText)"
        )

    def click(self, selector: str) -> None:
        self.do("click", selector=selector)

    def type(self, selector: str, text: str) -> None:
        self.do("type", selector=selector, text=text)

    def violations(self) -> list[str]:
        """Return what axe finds wrong for who cannot see or point."""
        return self.do("axe")

    def complaints(self) -> list[str]:
        """Return errors of the page's scripts, and what its policy refused."""
        return self.do("complaints")

    def close(self) -> None:
        self._asks.close()
        self._process.wait(timeout=20)
        self._answers.close()


def _plain(selector: str) -> str:
    found = f"document.querySelector({json.dumps(selector)})"
    return f"({found}?.innerText ?? '').replaceAll('\\u00a0', ' ')"
