"""What recorders of other users may say: that a recording is finished, and nothing else.

They cannot read the agent's state, nor have a file sent that the watched folder would not bring. Of a path
elsewhere nothing is looked up, so nobody learns through the agent what is there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from edge_agent.media.folders import Folders
from edge_agent.operate.announce import answer_of
from edge_agent.operate.commands import Commands, RequestError

_ALONE = "here a recorder says that a recording is finished, and nothing else: ask as the agent's user, or as root"
_ELSEWHERE = (
    "by this path it is in none of the watched folders: name it as it lies below [watch] folder"
)


class HookDesk:
    """Safe to use from several threads.

    Args:
        desk: answers what is let through.
        folders: those that recordings may lie in.
    """

    def __init__(self, desk: Commands, folders: Folders) -> None:
        self._desk = desk
        self._folders = folders

    def answer(self, request: Mapping[str, Any], stopping: threading.Event) -> Iterator[object]:
        """Yield what becomes of each file that is said to be finished.

        Raises:
            RequestError: it says something else, or not in the form that it must have.
        """
        paths = request.get("paths")
        if request.get("do") != "finished":
            raise RequestError(_ALONE)
        if isinstance(paths, list):
            elsewhere = [one for one in paths if isinstance(one, str) and not self._is_below(one)]
            for one in elsewhere:
                yield answer_of(os.fsencode(one), _ELSEWHERE, is_taken=False)
            paths = [one for one in paths if one not in elsewhere]
            if elsewhere and not paths:
                return
        yield from self._desk.answer({"do": "finished", "paths": paths}, stopping)

    def _is_below(self, path: str) -> bool:
        """Return whether *path* lies in a watched folder by its text alone."""
        tops = {str(one.path.absolute()) for one in self._folders}
        for one in self._folders:
            with suppress(OSError):
                tops.add(str(one.real_path()))
        is_plain = ".." not in path.split("/")
        return is_plain and any(path.startswith(f"{top.rstrip('/')}/") for top in tops)
