"""What Prometheus makes of an expression and of a scrape."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

_LEFT_OUT = re.compile(
    r'"[^"]*"|\'[^\']*\'|\{[^}]*\}|\[[^\]]*\]'
    r"|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"
)
_NAME = re.compile(r"\b[a-zA-Z_:][a-zA-Z0-9_:]*\b(?!\s*\()")
_WORDS = frozenset({"and", "or", "unless", "offset", "bool", "inf", "nan", "by", "without"})
_DURATION = re.compile(r"\boffset\s+\w+")
OF_PROMETHEUS = frozenset({"up"})
"""Series that it makes itself."""


def metric_names(expression: str) -> set[str]:
    """Return the names of all metrics that a PromQL expression reads."""
    bare = expression
    while (shorter := _LEFT_OUT.sub(" ", bare)) != bare:
        bare = shorter
    return set(_NAME.findall(_DURATION.sub(" ", bare))) - _WORDS - OF_PROMETHEUS


def exposed_names(scrape: str) -> set[str]:
    """Return the names of all series that a scrape has or, with the first event, will have."""
    found = set()
    for family in text_string_to_metric_families(scrape):
        found |= {sample.name for sample in family.samples}
        if family.type == "counter":
            found.add(f"{family.name}_total")
        elif family.type == "histogram":
            found |= {f"{family.name}_{part}" for part in ("bucket", "count", "sum")}
        else:
            found.add(family.name)
    return found
