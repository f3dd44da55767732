"""An agent's store and activity in virtual time, and the document that it makes of them."""

from __future__ import annotations

import itertools

from edge_agent.base.activity import Activity
from edge_agent.base.settings import WatchSettings
from edge_agent.core.recording import Found, Identity
from edge_agent.media.folders import Folders
from edge_agent.report.state_document import LinkUse, StateDocuments
from edge_agent.store.recordings import Store
from tests.support.rim import StillClock


class Board:
    def __init__(self, base) -> None:
        self.clock, self.folder = StillClock(), base / "media"
        self.folder.mkdir()
        self.link, self.is_paused = LinkUse(), False
        self.store = Store.open(base / "agent.db", clock=self.clock, boot_id="boot")
        self.activity = Activity()
        self.inodes = itertools.count(1)
        self.snapshot = StateDocuments(
            self.store,
            self.activity,
            self.clock,
            boot_id="boot",
            folders=Folders([WatchSettings(folder=self.folder)]),
            link=lambda: self.link,
            is_paused=lambda: self.is_paused,
        )
        self.snapshot.phase = None

    def add(self, name: str):
        identity = Identity(1, next(self.inodes), 1000, 1, 1)
        found = Found(path=b"/m/" + name.encode(), folder="", name=name, identity=identity)
        return self.store.add([found])[0]
