"""What a page shows as configuration is TOML, and each of its keys is one that a program knows."""

import tomllib
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from edge_agent.base.settings import AgentSettings
from ingest_server.config.loading import ServerConfig
from tests.support.pages import PAGES, blocks

SHOWN = [block for page in PAGES for block in blocks(page) if block.language == "toml"]


def models(annotation: Any) -> list[type[BaseModel]]:
    """Return the tables that a setting may hold, also as a list or by name."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for one in get_args(annotation) for model in models(one)]


def unknown(settings: type[BaseModel], table: dict[str, Any], where: str = "") -> list[str]:
    """Return the keys of *table*, and below, that *settings* do not have."""
    found = []
    for key, value in table.items():
        field = settings.model_fields.get(key)
        if field is None:
            found.append(f"{where}{key}")
            continue
        inner = models(field.annotation)
        for one in value if isinstance(value, list) else [value]:
            if inner and isinstance(one, dict):
                found += unknown(inner[0], one, f"{where}{key}.")
    return found


@pytest.mark.parametrize("block", SHOWN, ids=[block.place for block in SHOWN])
def test_a_setting_that_a_page_shows_is_one(block):
    table = tomllib.loads(block.text)

    assert [] in (unknown(AgentSettings, table), unknown(ServerConfig, table))
