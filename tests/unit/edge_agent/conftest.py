"""What the tests of the agent have in common."""

from __future__ import annotations

import io
import json
import logging
import warnings

import pytest
import structlog

from edge_agent import logs


@pytest.fixture
def log_lines():
    """What was logged, as objects; the configuration of before comes back afterwards."""
    before, handlers = structlog.get_config(), list(logging.getLogger().handlers)
    level = logging.getLogger().level
    stream = io.StringIO()
    with warnings.catch_warnings():
        logs.configure("info", "json", stream)
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)
