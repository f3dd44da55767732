"""docs/waits.md: every time that can be set, with the default that the program has, and every word for a wait."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from edge_agent.base.reasons import Reason
from edge_agent.base.settings import AgentSettings
from ingest_server.config.loading import ServerConfig

PAGE = (Path(__file__).parents[2] / "docs/waits.md").read_text("utf-8")
SHOWN = re.findall(r"^\| `(\[\w+\] \w+)` \| (\S+) \|", PAGE, re.MULTILINE)
WORDS = re.findall(r"^\| `(\w+)` \| ", PAGE, re.MULTILINE)
_TIME = re.compile(r"_(?:s|seconds|minutes|hours|days)\Z")


def times(settings: type[BaseModel]) -> Iterator[tuple[str, float]]:
    """Yield ``[table] key`` and the default of each setting that is a time."""
    for table, field in settings.model_fields.items():
        for model in (field.annotation, *get_args(field.annotation)):
            if not (isinstance(model, type) and issubclass(model, BaseModel)):
                continue
            for key, one in model.model_fields.items():
                if _TIME.search(key) and isinstance(one.default, int | float):
                    yield f"[{table}] {key}", one.default


DEFAULTS = dict((*times(AgentSettings), *times(ServerConfig)))


def test_there_are_times_to_set():
    assert len(DEFAULTS) > 15


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_a_time_is_shown_with_its_default(name):
    assert [float(value) for key, value in SHOWN if key == name] == [DEFAULTS[name]]


def test_what_is_shown_can_be_set():
    assert {key for key, _ in SHOWN} == set(DEFAULTS)


def test_each_word_for_a_wait_is_explained_once():
    assert [reason.value for reason in Reason] == WORDS
