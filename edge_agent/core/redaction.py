"""Lines of a log without what nobody else may read; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

_GONE = "[redacted]"
_SHORTEST = 6
"""A secret of fewer characters would be found in half of all words."""
_KINDS = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+"), rf"\1 {_GONE}"),
    (re.compile(r"://[^/@\s\"]+@"), f"://{_GONE}@"),
    (
        re.compile(
            r'(?i)("[^"]*(?:token|password|secret|authorization|cookie|api_?key)[^"]*"\s*:\s*)"(?:[^"\\]|\\.)*"'
        ),
        rf'\1"{_GONE}"',
    ),
    (
        re.compile(r"(?i)\b(token|password|secret|api_?key)=[^\s&\"]+"),
        rf"\1={_GONE}",
    ),
)


def redacted(line: str, secrets: Iterable[str]) -> str:
    """Return *line* without *secrets*, and without what looks like one by what stands beside it."""
    for secret in secrets:
        if len(secret) >= _SHORTEST:
            for form in (secret, json.dumps(secret)[1:-1]):
                line = line.replace(form, _GONE)
    for kind, instead in _KINDS:
        line = kind.sub(instead, line)
    return line
