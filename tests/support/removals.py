"""A server that removes what is old, and what it says of it."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from tests.support.core_site import CoreSite
from tests.support.events import events

DAY_S = 86_400
DATE = "cam/2026-11-21"


class PowerCut(BaseException):
    pass


def sweep(site: CoreSite, days: float = 10) -> int:
    site.receiver.settings = replace(site.receiver.settings, keep_published_s=days * DAY_S)
    return site.housekeeper.remove_old()


def told(site: CoreSite) -> list[dict[str, Any]]:
    return [data for kind, data in events(site) if kind == "ingest.file.removed"]


def wall(site: CoreSite, monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    monkeypatch.setattr(site.clock, "now_utc", lambda: moment)
