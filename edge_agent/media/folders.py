"""All watched folders: which there are now, whose a path is, whose a recording is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from edge_agent.base.overlap import is_within
from edge_agent.base.patience import SilentError
from edge_agent.base.settings import WatchSettings
from edge_agent.core.recording import Recording, Share
from edge_agent.media.folder import Folder
from edge_agent.media.mounts import on_device, read_mountinfo
from edge_agent.store.recordings import Store


class Folders:
    """In the order of the settings, at least one. Safe to use from several threads.

    Folders come and go by `reconfigure`; one that stays, with its name and its path, is the same object.
    """

    def __init__(self, settings: Sequence[WatchSettings]) -> None:
        self._all: tuple[Folder, ...] = ()
        self.reconfigure(settings)
        self.is_changing = False
        """Whether recordings may still carry the name of a folder that has another one now."""

    def __iter__(self) -> Iterator[Folder]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def first(self) -> Folder:
        """The one that answers for what is in none of them, too."""
        return self._all[0]

    def reconfigure(self, settings: Sequence[WatchSettings]) -> None:
        """Watch those of *settings*, and go by their rules; `adopt` has recordings follow."""
        self.is_changing = True
        known = {(one.name, one.path): one for one in self._all}
        names = [one.name for one in settings]
        shares = [
            Share(name, frozenset(names[1:]) if number == 0 else None)
            for number, name in enumerate(names)
        ]
        folders: list[Folder] = []
        for one, share in zip(settings, shares, strict=True):
            folder = known.get((one.name, one.folder))
            if folder is None:
                folder = Folder(one, share)
            else:
                folder.reconfigure(one)
                folder.share = share
            folders.append(folder)
        for folder in folders:
            folder.others = tuple(one for one in folders if one is not folder)
        self._all = tuple(folders)

    def of(self, watch: str) -> Folder:
        """Return the folder that answers for recordings of the one named *watch*."""
        return self._named(watch) or self.first

    def metadata_of(self, recording: Recording) -> Mapping[str, str]:
        """Return what the server is told of *recording* beside its name: by its folder's settings."""
        folder = self._named(recording.watch)
        named = {"watch": recording.watch} if recording.watch else {}
        return named if folder is None else {**folder.rules.metadata, **named}

    def _named(self, watch: str) -> Folder | None:
        return next((one for one in self._all if one.name == watch), None)

    def sends_meanwhile(self, recording: Recording) -> bool:
        """Return whether *recording* is wanted at the server while it is still written to."""
        folder = self._named(recording.watch)
        names = None if folder is None else folder.rules.while_recording
        is_ours = recording.origin == "watch"
        return is_ours and names is not None and names.take(recording.path.rpartition(b"/")[2])

    def appends(self, recording: Recording) -> bool:
        """Return whether *recording* is written on after it was sent, by its folder's settings."""
        folder = self._named(recording.watch)
        names = None if folder is None else folder.rules.append
        return names is not None and names.take(recording.path.rpartition(b"/")[2])

    @property
    def send_meanwhile(self) -> bool:
        """Whether there is a folder where any recording is."""
        return any(one.rules.while_recording is not None for one in self._all)

    def is_watched(self, watch: str) -> bool:
        """Return whether a folder of that name is watched now."""
        return self._named(watch) is not None

    def holding(self, path: bytes) -> Folder | None:
        """Return the folder that the file at *path*, a real one, lies in; None: in none of them."""
        for one in self._all:
            top = one.path
            with suppress(OSError):  # away, or it does not answer: as it was configured
                top = one.real_path()
            if path.startswith(os.fsencode(top).rstrip(b"/") + b"/"):
                return one
        return None

    def overlapping(self, folder: Folder) -> Folder | None:
        """Return one before *folder* that it has files in common with, as the paths lead now.

        The settings were refused where that could be told: a link may lead elsewhere since, and a card
        be mounted.
        """
        for one in self._all:
            if one is folder:
                return None
            if not _answers(one):
                continue
            if is_within(one.path, folder.path) or is_within(folder.path, one.path):
                return one
            if _have_files_in_common(one, folder):
                return one
        return None

    def adopt(self, store: Store) -> None:
        """Give recordings of a folder that has another name now, or had none, to that folder.

        Raises:
            StoreError: not all of them; the next start does it again.
        """
        for unknown in store.counts.folder_names() - {one.name for one in self._all}:
            for one in self._all:
                tops = {os.fsencode(one.path)}
                with suppress(OSError):
                    tops.add(os.fsencode(one.real_path()))
                store.adopt(unknown, one.name, tops)


def _answers(folder: Folder) -> bool:
    """Return whether its file system says anything; one that is silent is held against nothing."""
    try:
        folder.real_path()
    except SilentError:
        return False
    except OSError:
        return True
    return True


def _have_files_in_common(one: Folder, other: Folder) -> bool:
    """Return whether one of two folders lies in the other by another mount (``mount --bind``)."""
    try:
        mountinfo = read_mountinfo()
        first, second = (on_device(folder.real_path(), mountinfo) for folder in (one, other))
    except OSError:
        return False  # one is away
    return (second + b"/").startswith(first + b"/") or (first + b"/").startswith(second + b"/")
