"""A configuration of the agent as a person writes it, read, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.base.errors import ConfigError
from edge_agent.base.settings_loading import Loaded, load

GOOD = """
device_id = "drone-1"
[watch]
folder = "media"
[server]
url = "http://127.0.0.1:8080"
"""


def read(tmp_path: Path, text: str, *, environment=None, options=None) -> Loaded:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    (tmp_path / "media").mkdir(exist_ok=True)
    return load(file, environment or {}, options or {})


def problems(tmp_path: Path, text: str, **sources) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, **sources)
    return caught.value.problems
