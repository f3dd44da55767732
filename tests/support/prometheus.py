"""What Prometheus makes of an expression and of a scrape, and a real one."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from demo.ports import LOOPBACK, free_port
from tests.support.processes import Program, wait_for
from tests.support.requirements import require

DEPLOYED = Path(__file__).parents[2] / "deploy" / "prometheus"

_LEFT_OUT = re.compile(
    r'"[^"]*"|\'[^\']*\'|\{[^}]*\}|\[[^\]]*\]'
    r"|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"
)
_NAME = re.compile(r"\b[a-zA-Z_:][a-zA-Z0-9_:]*\b(?!\s*\()")
_WORDS = frozenset({"and", "or", "unless", "offset", "bool", "inf", "nan", "by", "without"})
_DURATION = re.compile(r"\boffset\s+\w+")
OF_PROMETHEUS = frozenset({"up", "ALERTS"})
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


class Prometheus(Program):
    """A real one with the configuration that is handed out, which asks twice a second."""

    def __init__(self, folder: Path, target: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        config = folder / "prometheus.yml"
        text = (DEPLOYED / config.name).read_text()
        config.write_text(text.replace("127.0.0.1:9108", target).replace(": 30s", ": 500ms"))
        shutil.copy(DEPLOYED / "ingest.rules.yml", folder)
        command = [
            require("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self.port}",
        ]
        super().__init__("prometheus", folder, command)
        self._client = httpx.Client(base_url=f"http://{LOOPBACK}:{self.port}", timeout=30)

    def start(self) -> None:
        super().start()
        wait_for(self._is_ready, "Prometheus is ready")

    def close(self) -> None:
        super().close()
        self._client.close()

    def _is_ready(self) -> bool:
        assert self.child.ended() is None, f"Prometheus ended:\n{self.end_of_log()}"
        try:
            return self._client.get("/-/ready").is_success
        except httpx.TransportError:
            return False

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of its API."""
        answer = self._client.get(f"/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def series(self, expression: str) -> list[dict[str, Any]]:
        """Return what *expression* is now."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found
