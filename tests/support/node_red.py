"""A real Node-RED from npm with the flow that is handed out."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path

import httpx

from demo.ports import LOOPBACK, free_port
from tests.support.processes import Program, wait_for
from tests.support.requirements import missing, require

FLOWS = Path(__file__).parents[2] / "deploy" / "node-red" / "flows.json"
VERSION = "4.1.15"
SETTINGS = """module.exports = {
  uiHost: "%s",
  telemetry: { enabled: false, updateNotification: false },
  editorTheme: { tours: false },
  logging: { console: { level: "info" } },
}
"""


def installed() -> Path:
    """Return the program; installed once, into the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-uploader"
    folder = cache / f"node-red-{VERSION}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as new:
            _install(Path(new) / "whole")
            with suppress(OSError):  # somebody else was quicker
                (Path(new) / "whole").rename(folder)
    return folder / "node_modules" / "node-red" / "red.js"


def _install(folder: Path) -> None:
    folder.mkdir()
    command: list[str | Path] = [
        require("npm"),
        "install",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--silent",
    ]
    done = subprocess.run(
        [*command, "--prefix", folder, f"node-red@{VERSION}"],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    if done.returncode:
        missing(f"npm could not install Node-RED: {done.stderr[-300:]}")


class NodeRed(Program):
    """Node-RED with the flow as its owner sets it up: only the broker and the patience are another."""

    def __init__(self, folder: Path, program: Path, broker_port: int, offline_minutes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        nodes = {node["id"]: node for node in json.loads(FLOWS.read_text())}
        nodes["edge-broker"].update(broker=LOOPBACK, port=str(broker_port))
        nodes["edge-flow"]["env"][0]["value"] = str(offline_minutes)
        (folder / "flows.json").write_text(json.dumps([*nodes.values()]))
        (folder / "settings.js").write_text(SETTINGS % LOOPBACK)
        where = [
            "--userDir",
            folder,
            "--settings",
            folder / "settings.js",
            "--port",
            str(self.port),
        ]
        super().__init__("node-red", folder, [require("node"), program, *where, "flows.json"])

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        super().start()
        wait_for(self._is_ready, "the flow answers")

    def _is_ready(self) -> bool:
        assert self.child.ended() is None, f"Node-RED ended:\n{self.end_of_log()}"
        try:
            return httpx.get(f"{self.url}/devices").is_success
        except httpx.TransportError:
            return False

    def page(self) -> _Page:
        page = _Page()
        page.feed(httpx.get(f"{self.url}/devices").raise_for_status().text)
        return page

    def press(self, cmd: str, device: str, origin: str | None = None) -> httpx.Response:
        """Press a button as a browser does on the flow's own page, or on another one."""
        return httpx.post(
            f"{self.url}/devices",
            data={"device": device, "cmd": cmd},
            headers={"Origin": origin or self.url},
        )


class _Page(HTMLParser):
    """What a person reads there."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[list[str]] = []
        self.alarms: list[str] = []
        self._text: list[str] = []
        self._is_in = ""

    @property
    def devices(self) -> dict[str, dict[str, str]]:
        """The rows of the table by the device's name."""
        head, *rows = self._rows
        return {row[0]: dict(zip(head, row, strict=True)) for row in rows}

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self._rows.append([])
        elif tag in {"td", "th"}:
            self._rows[-1].append("")
        elif tag == "li":
            self.alarms.append("")
        if tag in {"tr", "td", "th", "li", "button", "h1", "h2", "p"}:
            self._is_in = tag

    def handle_endtag(self, tag: str) -> None:
        self._is_in = ""

    def handle_data(self, data: str) -> None:
        if self._is_in in {"td", "th"}:
            self._rows[-1][-1] += data.strip()
        elif self._is_in == "li":
            self.alarms[-1] += data.strip()
