"""A watcher for each watched folder, each with a thread of its own: a card that hangs holds up no other.

They come and go with the settings. Which is which is told by the folder's name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.helper import only_helps
from edge_agent.base.worker_thread import WorkerThread
from edge_agent.media.announced import Announcement
from edge_agent.media.folder import Folder
from edge_agent.media.folders import Folders
from edge_agent.media.watcher import Watcher
from edge_agent.store.recordings import Store

log = structlog.get_logger()

_LEAVE_S = 1.0

MakeThread = Callable[[str, Callable[[float], float]], WorkerThread]


class Watchers:
    """Safe to use from several threads, but `start`, `follow`, `stop` and `end_hints`, which are for one.

    Args:
        new: makes the watcher of a folder.
        thread: makes a worker from its name and its step.
    """

    def __init__(
        self,
        folders: Folders,
        store: Store,
        activity: Activity,
        *,
        new: Callable[[Folder], Watcher],
        thread: MakeThread,
    ) -> None:
        self._folders = folders
        self._store = store
        self._activity = activity
        self._new = new
        self._thread = thread
        self._is_started = False
        self._all: dict[Folder, tuple[Watcher, WorkerThread]] = {}
        self._fill()

    @property
    def runners(self) -> list[WorkerThread]:
        """Those that watch now."""
        return [runner for _, runner in self._all.values()]

    def start(self) -> None:
        self._is_started = True
        with only_helps("folders", instead="the next start looks whose recordings are whose"):
            self._folders.adopt(self._store)
        for runner in self.runners:
            runner.start()

    def follow(self) -> None:
        """Watch the folders that there are now, and those that are gone no more.

        What was found in them stays remembered, is sent if its file is there, and is never deleted.
        """
        kept, leaving = set(self._folders), list[WorkerThread]()
        is_another = kept != set(self._all)
        for folder in [one for one in self._all if one not in kept]:
            watcher, runner = self._all[folder]
            self._all = {one: both for one, both in self._all.items() if one is not folder}
            runner.on_ended = partial(self._see_off, folder, watcher)
            runner.stop()
            leaving.append(runner)
            log.info("folder.left", watch=folder.name, path=str(folder.path))
        with only_helps("folders", instead="the next start looks whose recordings are whose"):
            self._folders.adopt(self._store)  # what is remembered has its new names at once
        for runner in leaving:
            runner.join(_LEAVE_S)
        with only_helps("folders", instead="the next start looks whose recordings are whose"):
            self._folders.adopt(self._store)
        for folder in self._fill():
            try:
                self._all[folder][1].start()
            except RuntimeError as error:  # no thread left
                self._all = {one: both for one, both in self._all.items() if one is not folder}
                action = "it is not watched before the next reload or start"
                log.warning("folder.failed", watch=folder.name, error=str(error), action=action)
        self._folders.is_changing = False
        if is_another:
            self.ask_anew()  # what one has left the first answers for
        self.wake()

    def _see_off(self, folder: Folder, watcher: Watcher) -> None:
        """Forget one that watches no more; in its own thread, after its last step, however long that takes."""
        watcher.stop()
        if not self._folders.is_watched(folder.name):
            self._activity.forget_folder(folder.name, by=watcher.worker)

    def _fill(self) -> list[Folder]:
        added: list[Folder] = []
        for folder in self._folders:
            if folder in self._all:
                continue
            watcher = self._new(folder)
            runner = self._thread(watcher.worker, watcher.step)
            watcher.wake_runner = runner.wake
            watcher.overlapping = partial(self._folders.overlapping, folder)
            self._all = {**self._all, folder: (watcher, runner)}
            added.append(folder)
            if self._is_started:
                log.info("folder.added", watch=folder.name, path=str(folder.path))
        return added

    def wake(self) -> None:
        """Say that something in the folders, or their rules, may have changed; returns at once."""
        for watcher, _ in self._all.values():
            watcher.wake()

    def announce(self, one: Announcement) -> None:
        """Say that a recorder has finished a file; returns at once. Whose it is not leaves it alone."""
        for watcher, _ in self._all.values():
            watcher.announce(one)

    def ask_anew(self) -> None:
        """Say that a recording was given up whose file is still there; returns at once."""
        for watcher, _ in self._all.values():
            watcher.ask_anew()

    def stop(self) -> None:
        """Begin no further step."""
        for runner in self.runners:
            runner.stop()

    def end_hints(self) -> None:
        """End the threads that hints come from. No step is taken any more."""
        for watcher, _ in self._all.values():
            watcher.stop()
