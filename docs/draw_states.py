"""Write docs/states.md from the state table, so that the picture cannot drift from the program.

Usage: python docs/draw_states.py
"""

from __future__ import annotations

from pathlib import Path

from edge_agent.core.upload import FINAL, TRANSITIONS, State

PAGE = Path(__file__).with_name("states.md")

MEANING = {
    State.SEEN: "found by a scan; nobody knows yet whether it is finished",
    State.GROWING: "somebody still writes to it",
    State.STABLE: "finished; waits for its turn",
    State.SENDING: "the server knows the upload; bytes are on their way",
    State.SENT: "every byte is acknowledged; the digests are being compared",
    State.VERIFIED: "the server's receipt is on disk here; the file may be let go",
    State.RELEASED: "the file is gone from the device",
    State.KEPT: "verified, and stays: `[retention] delete` says so, or `edge-agent upload` sent it",
    State.FAILED: "kept for a person; `edge-agent status` names the problem",
}


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
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
