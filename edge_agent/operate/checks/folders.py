"""The watched folder, and the agent's own."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

from edge_agent.base.patience import SilentError
from edge_agent.base.state_lock import cannot_be_used
from edge_agent.core.left_out import WANTED, Cause, sentence
from edge_agent.core.stability import Writer
from edge_agent.media import answers
from edge_agent.media.card import Card
from edge_agent.media.folder import Folder
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.mounts import kind_at, read_mountinfo
from edge_agent.media.scan import Scan
from edge_agent.media.source import SILENT
from edge_agent.operate.checks.finding import Finding

_LOOKED_AT = 1000
"""Files in the watched folder, until one is found that belongs to the camera's user."""
_SCANNED = 100_000
"""Recordings looked at by one check: some seconds."""
_UNREADABLE = frozenset({Cause.PERMISSION, Cause.SOURCE_IO})
_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "vfat", "exfat"})


def why_silent(watched: Folder) -> Finding | None:
    """Return that the folder's file system does not answer, if it does not."""
    try:
        root = watched.real_path()
        answers.look_through(os.fsencode(root), lambda: _read_some(root))
    except SilentError:
        text = f"{watched.path} does not answer: {SILENT}"
        return Finding("FAIL", "folder", watched.named(text))
    except OSError:
        pass  # told by whoever looks closer
    return None


def _read_some(folder: Path) -> None:
    with os.scandir(folder) as entries:
        next(entries, None)


def check_folder(watched: Folder, *, deletes: bool) -> Iterator[Finding]:
    """Say whether recordings can be read there, and taken away if the agent *deletes*."""
    folder = watched.path
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
    except OSError as error:
        text = f"{folder}: {error.strerror}; create it, mend [watch] folder, or give access to it"
        yield Finding("FAIL", "folder", watched.named(text))
        return
    yield Finding("OK", "folder", watched.named(f"{folder} can be read"))
    may_write = os.access(folder, os.W_OK | os.X_OK)
    if deletes and (where := _kept_for_ever(folder, recursive=watched.rules.is_recursive)):
        text = (
            f"verified recordings cannot be deleted from {where}: {_access_to(where)},"
            ' or set [retention] delete = "never"'
        )
        yield Finding("FAIL", "folder", watched.named(text))
    found = check_open_files(
        folder.resolve(), may_write=may_write, recursive=watched.rules.is_recursive
    )
    yield replace(found, text=watched.named(found.text))


def _kept_for_ever(folder: Path, *, recursive: bool) -> str | None:
    """Return the first folder there that nothing can be deleted from; None: none is known."""
    for seen, (place, below, names) in enumerate(os.walk(folder)):
        if not os.access(place, os.W_OK | os.X_OK, effective_ids=True) or _is_others(place, names):
            return place
        below[:] = [one for one in below if recursive and not one.startswith(".")]
        if seen >= _LOOKED_AT:
            break
    return None


def _is_others(folder: str, names: list[str]) -> bool:
    """Return whether only their owner may delete the recordings there (the sticky bit), who we are not."""
    user = os.geteuid()
    found = Path(folder).stat()
    if not found.st_mode & stat.S_ISVTX or user in {0, found.st_uid}:
        return False
    with suppress(OSError):
        return any(Path(folder, one).lstat().st_uid != user for one in names[:_LOOKED_AT])
    return False


def _access_to(folder: str) -> str:
    with suppress(OSError):
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return (
                "it is read-only here, for it is mounted so or the unit's sandbox makes it so:"
                " set ReadWritePaths= (deploy/systemd/read-write-media.conf)"
            )
        if Path(folder).stat().st_mode & stat.S_ISVTX:
            return (
                "only who owns them may (the sticky bit): chmod -t, or record as the agent's user"
            )
    return "give this user write access to it"


def check_left_out(watched: Folder) -> Iterator[Finding]:
    """Say what of it is not sent, and why."""
    try:
        root = os.fsencode(watched.real_path())
    except OSError:
        return  # `check_folder` has said it
    scan = Scan(root, watched.rules.names, recursive=watched.rules.is_recursive, watch=watched.name)
    taken = sum(1 for _ in islice(scan, _SCANNED))
    found = scan.left_out
    if not any(one.cause not in WANTED for one in found):
        text = f"nothing; recordings there that can be read: {taken}"
        yield Finding("OK", "left out", watched.named(text))
    for one in found:
        level = "OK" if one.cause in WANTED else "FAIL" if one.cause in _UNREADABLE else "WARN"
        yield Finding(level, "left out", watched.named(sentence(one)))


def check_card(watched: Folder) -> Iterator[Finding]:
    """Say whether something is to be mounted where the folder lies, and is not."""
    point = Card(None, watched.path).absent(holds_files=False)
    if point is not None:
        text = f"nothing is mounted at {point}, where /etc/fstab has the card for it: put it in, or mount it"
        yield Finding("FAIL", "card", watched.named(text))


def check_open_files(folder: Path, *, may_write: bool, recursive: bool) -> Finding:
    """Say whether the kernel tells that a recording in *folder* is still written."""
    probe = LeaseProbe()
    probe.consider(folder, recursive=recursive)
    writer = None
    if not probe.limits:
        if (recording := _file_of_another_user(folder)) is not None:
            # The kernel tells of one's own files where it may refuse to tell of the camera's.
            writer = probe.writer(os.fsencode(recording))
        elif may_write:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".edge-agent-") as trial:
                writer = probe.writer(os.fsencode(trial.name))
    if probe.limits:
        return Finding("WARN", "open files", "; ".join(probe.limits))
    if writer is None or writer is Writer.UNKNOWN:
        text = "cannot be tried while no recording is in the folder: check again when there is one"
        return Finding("WARN", "open files", text)
    return Finding("OK", "open files", "the kernel tells whether a recording is still written")


def _file_of_another_user(folder: Path) -> str | None:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in islice(entries, _LOOKED_AT):
            with suppress(OSError):
                is_file = entry.is_file(follow_symlinks=False)
                if (
                    is_file
                    and entry.stat(follow_symlinks=False).st_uid != os.geteuid()
                    and _may_read(entry.path)
                ):
                    return entry.path
    return None


def _may_read(path: str) -> bool:
    return os.access(path, os.R_OK, effective_ids=True)


def check_state_dir(state_dir: Path) -> Iterator[Finding]:
    """Say whether a database is safe there; a folder that is made for that is taken away again.

    It would belong to whoever checks: root, whose folder the agent's user cannot write to.
    """
    try:
        is_new = not state_dir.exists()
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=state_dir, prefix=".check-") as trial:
            os.fsync(trial.fileno())
    except OSError as error:
        yield Finding("FAIL", "state_dir", cannot_be_used(state_dir, error))
        return
    kind = _kind_of(state_dir)
    if is_new:
        with suppress(OSError):  # an agent that has just begun has something in it
            state_dir.rmdir()
    if kind in _REMOTE:
        text = (
            f"{state_dir} lies on {kind}, where the database is not safe: set state_dir to a folder"
            " on the device's own disk (ext4, say)"
        )
        yield Finding("FAIL", "state_dir", text)
        return
    yield Finding("OK", "state_dir", f"{state_dir} can be written ({kind or 'unknown'})")


def _kind_of(folder: Path) -> str | None:
    with suppress(OSError):
        return kind_at(folder.resolve(), read_mountinfo())
    return None
