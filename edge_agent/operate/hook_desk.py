"""What recorders of other users may say: that a recording is finished, and nothing else.

They cannot read the agent's state, nor have a file sent that the watched folder would not bring. Of a path
elsewhere nothing is looked up, so nobody learns through the agent what is there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from edge_agent.core.printable import printable
from edge_agent.media.folders import Folders
from edge_agent.operate.announce import answer_of
from edge_agent.operate.commands import Commands, RequestError, paths_in

MOST_BYTES = 128 * 1024
"""Of a request: a few hundred paths. Eight recorders that send nonsense cost 30 MB with that."""
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
        if request.get("do") != "finished":
            raise RequestError(_ALONE)
        paths = paths_in(request.get("paths"))
        tops = self._tops()
        for one in paths:
            elsewhere = answer_of(one, _ELSEWHERE, is_taken=False)
            if b".." in one.split(b"/") or not one.startswith(tops):
                yield elsewhere
                continue
            # By itself: then it is known which path an answer is about.
            for answer in self._desk.answer(
                {"do": "finished", "paths": [os.fsdecode(one)]}, stopping
            ):
                yield answer if _is_about(answer, tops) else elsewhere

    def _tops(self) -> tuple[bytes, ...]:
        """Return how the path of what lies in a watched folder begins, as configured and as it really is."""
        tops = {str(one.path.absolute()) for one in self._folders}
        for one in self._folders:
            with suppress(OSError):
                tops.add(str(one.real_path()))
        return tuple(os.fsencode(top).rstrip(b"/") + b"/" for top in tops)


def _is_about(answer: object, tops: Sequence[bytes]) -> bool:
    """Return whether *answer* tells of a watched folder, and not of where a link in one leads."""
    path = answer.get("path") if isinstance(answer, dict) else None
    return isinstance(path, str) and path.startswith(tuple(map(printable, tops)))
