"""The contract with whoever reads and writes our topics: a JSON Schema 2020-12 for each, as a file.

The schemas allow keys that they do not name, for within ``v1`` keys are added; the tests hold the agent's
own messages to the named ones.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Final

NAMES: Final = ("status", "info", "state", "event", "cmd", "ack", "desired", "reported")


def schema(name: str) -> dict[str, Any]:
    """Return the schema of one of `NAMES`."""
    text = files("edge_agent.report").joinpath("schemas", f"{name}.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    return document
