"""Write docs/states.md and its two figures from the state tables and the code, so that they cannot drift from them.

Usage: python docs/draw_states.py (the figures need Graphviz's `dot`)
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from edge_agent.core.upload import FINAL, TRANSITIONS, Event, State
from ingest_server.core import record

PAGE = Path(__file__).with_name("states.md")
FIGURES = Path(__file__).with_name("figures")
AGENT = Path(__file__).parents[1] / "edge_agent"
STORE = AGENT / "store"
MOVES = frozenset({"advance", "Move"})
"""What moves a recording is called; both get the event as their second argument."""

MEANING = {
    State.SEEN: "A scan found the file. The agent doesn't know yet whether it is finished.",
    State.GROWING: "A program still writes to the file.",
    State.STABLE: "The file is finished and waits for its turn.",
    State.SENDING: "The server knows the upload, and bytes are on their way.",
    State.SENT: "The server has acknowledged every byte. The digests are being compared.",
    State.VERIFIED: "The server's receipt is on the device's disk. The agent may delete the file.",
    State.RELEASED: "The device no longer has this content: the file was deleted, or another program changed it.",
    State.KEPT: "Verified, and the file stays: `[retention] delete` says so, or `edge-agent upload` sent it.",
    State.FAILED: "The agent keeps the file for you to look at. `edge-agent status` names the problem.",
    State.OVERWRITTEN: "A recorder that keeps a ring of files deleted the file before it was sent. The agent counts it.",
}


ON_THE_SERVER = {
    record.State.OPEN: "The upload takes bytes.",
    record.State.VERIFYING: "The upload takes no more bytes. The server compares them with the digest.",
    record.State.PUBLISHING: "The target and the receipt are set. The file may already have its name.",
    record.State.COMPLETE: "The file is published, and its receipt is durable.",
    record.State.FAILED: "The server lost the bytes, or the file changed while it was half published.",
    record.State.EXPIRED: "No byte came for `[expiry] idle_days`.",
    record.State.ABORTED: "The client, or `ingest-server abort`, gave the upload up.",
}

STEPS = (
    ("The bytes are read.", "verifying", "Reads them again."),
    ("The part file has the recording's time.", "verifying", "The same."),
    (
        "On another volume: a copy is there, and the server has read it back.",
        "verifying",
        "Removes the copy and begins again.",
    ),
    ("The folders exist.", "verifying", "The same. An empty folder may stay."),
    (
        "The state `publishing` and the target are durable.",
        "publishing",
        "Reads the part file and gives it its name.",
    ),
    ("The file has its name.", "publishing", "Finds the name, reads the file, and continues."),
    ("The name is durable.", "publishing", "The same."),
    (
        "The state `complete` and the receipt are durable.",
        "complete",
        "Tells programs that watch the folder, and removes the part file.",
    ),
    (
        "Programs that watch the folder are told.",
        "complete",
        "The same: it tells them a second time.",
    ),
    ("The part file is gone.", "complete", "Finds nothing to do."),
)
"""What has been done of publishing, the state by then, and what a start does that finds it so."""


class _Moves(ast.NodeVisitor):
    """Collects where a module moves recordings: the function, and the event or the word for it."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self._inside: list[str] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._enter(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._enter(node)

    def _enter(self, node: ast.ClassDef | ast.FunctionDef) -> None:
        self._inside.append(node.name)
        self.generic_visit(node)
        self._inside.pop()

    def visit_Call(self, node: ast.Call) -> None:
        name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
        if name in MOVES:
            self.found.append((".".join(self._inside), ast.unparse(node.args[1])))
        self.generic_visit(node)


def callers(root: Path = AGENT) -> Iterator[tuple[str, str, str]]:
    """Yield module, function and event of each place that moves a recording; the store carries out."""
    for path in sorted(root.rglob("*.py")):
        if STORE in path.parents or path.parent.name == "core":
            continue
        moves = _Moves()
        text = path.read_text(encoding="utf-8")
        if not any(f"{one}(" in text for one in MOVES):
            continue
        moves.visit(ast.parse(text))
        for function, event in moves.found:
            yield str(path.relative_to(root.parent)), function, event


def told(event: str) -> str:
    """Return how the page shows an event's expression: by its name, where it has one."""
    name = event.removeprefix("Event.")
    return str(Event[name]) if name in Event.__members__ else f"`{event}`, as its caller says"


Arrow = tuple[str, str, str]
"""The state before, the state after, and the events that lead there."""


def of_a_recording() -> list[Arrow]:
    """Return the arrows of the table in `edge_agent/core/upload.py`."""
    events: dict[tuple[str, str], list[str]] = {}
    for (before, event), after in TRANSITIONS.items():
        events.setdefault((before.value, after.value), []).append(event.value)
    return [(before, after, ", ".join(names)) for (before, after), names in events.items()]


def of_an_upload() -> list[Arrow]:
    """Return the arrows of the table in `ingest_server/core/record.py`."""
    return [
        (before.value, state.value, "")
        for before in record.State
        for state in record.State
        if state in record.FOLLOWING[before]
    ]


def svg(first: str, final: Iterable[str], arrows: Iterable[Arrow]) -> str:
    """Return the figure of a table, without the events; `dot` lays it out.

    Raises:
        FileNotFoundError: Graphviz is not installed.
    """
    lines = [
        "digraph { bgcolor=white; nodesep=0.3; ranksep=0.4",
        'node [shape=box style="rounded,filled" fillcolor="#e8f3ee" color="#0b6e4f" fontname="sans-serif" fontsize=13]',
        'edge [color="#555555"]',
        f"{first} [penwidth=2.5]",
        *(f'{state} [fillcolor="#eeeeee" color="#555555"]' for state in final),
        *(f"{before} -> {after}" for before, after, _ in arrows),
        "}",
    ]
    done = subprocess.run(
        ["dot", "-Tsvg"], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    drawing = done.stdout[done.stdout.index("<svg") :]
    return re.sub(r"<!--.*?-->\n", "", drawing)  # the program's name and version among them


def on_the_server() -> Iterator[str]:
    """Yield what the page says of an upload on the server."""
    yield "## An upload on the server"
    yield ""
    yield "`ingest-server list` names these states. The table is in `ingest_server/core/record.py`."
    yield ""
    yield from ("| State | Meaning |", "|---|---|")
    yield from (f"| `{state}` | {ON_THE_SERVER[state]} |" for state in record.State)
    yield from ("", "![What follows what, of an upload](figures/states-upload.svg)", "")
    yield from ("| State | Can become |", "|---|---|")
    for before in record.State:
        after = [f"`{state}`" for state in record.State if state in record.FOLLOWING[before]]
        yield f"| `{before}` | {', '.join(after) or 'nothing else: it is final'} |"
    yield from ("", "### The steps of publishing", "")
    yield "The server publishes a file in this order. A start after a power cut finds the step that was reached and"
    yield "continues from it. [ADR 0016](adr/0016-a-published-file-is-announced.md) and"
    yield "[ADR 0020](adr/0020-published-on-another-volume-is-copied.md) say why."
    yield ""
    yield from ("| Done so far | State | What a start does then |", "|---|---|---|")
    yield from (f"| {done} | `{state}` | {then} |" for done, state, then in STEPS)
    yield ""


def page() -> str:
    """Return the whole page: what each state means, what follows what, and who moves a recording."""
    lines = [
        "# States of recordings and uploads",
        "",
        "This page lists the states that `edge-agent status` and `ingest-server list` show, and what follows what.",
        "A state says how far a recording has come; a [wait](waits.md) says why it does not go on.",
        "`python docs/draw_states.py` makes the page from the code.",
        "",
        "## A recording on the device",
        "",
        "`edge-agent status` names these states. The table is in `edge_agent/core/upload.py`.",
        "",
        "| State | Meaning |",
        "|---|---|",
        *(f"| `{state}` | {MEANING[state]} |" for state in State),
        "",
        "![What follows what, of a recording](figures/states-recording.svg)",
        "",
        "| From | To | On |",
        "|---|---|---|",
        *(f"| `{before}` | `{after}` | {events} |" for before, after, events in of_a_recording()),
        "",
        "Only `verified` leads to `released`: the agent lets no file go without the server's receipt.",
        "Every state that isn't final has a way out, and so does `failed`.",
        "",
        "### Who moves a recording",
        "",
        "Only these functions move a recording. The store makes the change and writes the messages about it in one",
        "transaction.",
        "",
        "| Where | Event |",
        "|---|---|",
        *(
            f"| `{module}`: `{function}` | {told(event)} |"
            for module, function, event in dict.fromkeys(callers())
        ),
        "",
        *on_the_server(),
    ]
    return "\n".join(lines)


def figures() -> dict[str, str]:
    """Return the file name and the text of each figure.

    Raises:
        FileNotFoundError: Graphviz is not installed.
    """
    ends = [state for state in record.State if not record.FOLLOWING[state]]
    return {
        "states-recording.svg": svg(State.SEEN, FINAL, of_a_recording()),
        "states-upload.svg": svg(record.State.OPEN, ends, of_an_upload()),
    }


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    for name, text in figures().items():
        (FIGURES / name).write_text(text, encoding="utf-8")
