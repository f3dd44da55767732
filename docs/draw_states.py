"""Write docs/states.md from the state tables and the code, so that the page cannot drift from them.

Usage: python docs/draw_states.py
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from edge_agent.core.upload import FINAL, TRANSITIONS, Event, State
from ingest_server.core import record

PAGE = Path(__file__).with_name("states.md")
AGENT = Path(__file__).parents[1] / "edge_agent"
STORE = AGENT / "store"
MOVES = frozenset({"advance", "Move"})
"""What moves a recording is called; both get the event as their second argument."""

MEANING = {
    State.SEEN: "found by a scan; nobody knows yet whether it is finished",
    State.GROWING: "somebody still writes to it",
    State.STABLE: "finished; waits for its turn",
    State.SENDING: "the server knows the upload; bytes are on their way",
    State.SENT: "every byte is acknowledged; the digests are being compared",
    State.VERIFIED: "the server's receipt is on disk here; the file may be let go",
    State.RELEASED: "this content is gone from the device: the file was deleted, or written on",
    State.KEPT: "verified, and stays while `[retention] delete` says so, or for `edge-agent upload` sent it",
    State.FAILED: "kept for a person; `edge-agent status` names the problem",
    State.OVERWRITTEN: "deleted by its recorder, which keeps a ring of files, before it was sent; counted",
}


ON_THE_SERVER = {
    record.State.OPEN: "takes bytes",
    record.State.VERIFYING: "takes no more; its bytes are read and compared with the digest",
    record.State.PUBLISHING: "has its target and its receipt; the file may have its name already",
    record.State.COMPLETE: "the file is published, its receipt is durable",
    record.State.FAILED: "its bytes were lost, or the file changed while it was half published",
    record.State.EXPIRED: "no byte came for `[expiry] idle_days`",
    record.State.ABORTED: "its client gave it up",
}

STEPS = (
    ("the bytes are read", "verifying", "reads them again"),
    ("they have the recording's time", "verifying", "the same"),
    (
        "on another volume: a copy is there, and was read back",
        "verifying",
        "removes it, and begins anew",
    ),
    ("the folders are there", "verifying", "the same, but for an empty folder"),
    (
        "`publishing` and the target are durable",
        "publishing",
        "reads the part, and gives it its name",
    ),
    ("the file has its name", "publishing", "finds that it has, reads it, and goes on"),
    ("its name is durable", "publishing", "the same"),
    (
        "`complete` and the receipt are durable",
        "complete",
        "tells who watches, and removes the part",
    ),
    ("who watches the folder is told", "complete", "the same: they are told once more"),
    ("the part file is gone", "complete", "finds nothing to be done"),
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
        moves.visit(ast.parse(path.read_text(encoding="utf-8")))
        for function, event in moves.found:
            yield str(path.relative_to(root.parent)), function, event


def told(event: str) -> str:
    """Return how the page shows an event's expression: by its name, where it has one."""
    name = event.removeprefix("Event.")
    return str(Event[name]) if name in Event.__members__ else f"`{event}`, as its caller says"


def on_the_server() -> Iterator[str]:
    """Yield what the page says of an upload on the server."""
    yield "## An upload on the server"
    yield ""
    yield "From the table in `ingest_server/core/record.py`."
    yield ""
    yield from ("| state | meaning |", "|---|---|")
    yield from (f"| `{state}` | {ON_THE_SERVER[state]} |" for state in record.State)
    yield from ("", "```mermaid", "stateDiagram-v2", f"    [*] --> {record.State.OPEN}")
    for before in record.State:
        after = record.FOLLOWING[before]
        yield from (f"    {before} --> {state}" for state in record.State if state in after)
        if not after:
            yield f"    {before} --> [*]"
    yield from ("```", "", "### The steps of publishing", "")
    yield "In this order, each durable before the next where the table says so (docs/adr/0016, 0020)."
    yield ""
    yield from ("| done | state | a start after a power cut |", "|---|---|---|")
    yield from (f"| {done} | `{state}` | {then} |" for done, state, then in STEPS)
    yield ""


def page() -> str:
    """Return the whole page: what each state means, then the table as a diagram."""
    lines = [
        "# States of recordings and uploads",
        "",
        "What `edge-agent status` and `ingest-server list` name, and what follows what. This page is made from the",
        "code by `python docs/draw_states.py`.",
        "",
        "## A recording on the device",
        "",
        "From the table in `edge_agent/core/upload.py`.",
        "",
        "| state | meaning |",
        "|---|---|",
        *(f"| `{state}` | {MEANING[state]} |" for state in State),
        "",
        "```mermaid",
        "stateDiagram-v2",
        f"    [*] --> {State.SEEN}",
    ]
    arrows: dict[tuple[State, State], list[str]] = {}
    for (before, event), after in TRANSITIONS.items():
        arrows.setdefault((before, after), []).append(event.value)
    lines += [
        f"    {before} --> {after}: {', '.join(events)}"
        for (before, after), events in arrows.items()
    ]
    lines += [f"    {state} --> [*]" for state in State if state in FINAL]
    lines += [
        "```",
        "",
        "Only `verified` leads to `released`: nothing is let go without the server's receipt. Every",
        "state that is not final has a way out, `failed` among them.",
        "",
        "### Who moves a recording",
        "",
        "These places and no other; the store carries it out, in one transaction with what is told.",
        "",
        "| where | event |",
        "|---|---|",
        *(f"| `{module}`: `{function}` | {told(event)} |" for module, function, event in callers()),
        "",
        *on_the_server(),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
