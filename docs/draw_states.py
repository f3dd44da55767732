"""Write docs/states.md from the state table and the code, so that the page cannot drift from them.

Usage: python docs/draw_states.py
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from edge_agent.core.upload import FINAL, TRANSITIONS, Event, State

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
    State.RELEASED: "the file is gone from the device",
    State.KEPT: "verified, and stays while `[retention] delete` says so, or for `edge-agent upload` sent it",
    State.FAILED: "kept for a person; `edge-agent status` names the problem",
}


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


def page() -> str:
    """Return the whole page: what each state means, then the table as a diagram."""
    lines = [
        "# The life of a recording",
        "",
        "Made by `python docs/draw_states.py` from the table in `edge_agent/core/upload.py`.",
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
        "## Who moves a recording",
        "",
        "These places and no other; the store carries it out, in one transaction with what is told.",
        "",
        "| where | event |",
        "|---|---|",
        *(f"| `{module}`: `{function}` | {told(event)} |" for module, function, event in callers()),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
