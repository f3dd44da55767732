"""Reading what another user records: what the agent's user is given for it, and a trial whether that is enough."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edge_agent.media.beneath import ABSENT
from edge_agent.media.mounts import kind_at, read_mountinfo
from edge_agent.setup import acl
from edge_host.setup.as_user import User
from edge_host.setup.errors import SetupError
from edge_host.setup.machine import Machine, uid_of
from edge_host.setup.services import UNITS
from edge_host.setup.unseen import UNSEEN, hidden_by

USER = "edge-agent"
TREE, PASSAGE = f"access of {USER} to all in", f"passage of {USER} through"
DROP_IN = UNITS / "edge-agent.service.d" / "media.conf"
_OF_THE_SYSTEM = tuple(
    Path(one) for one in ("/etc", "/usr", "/boot", "/var/lib/edge-agent", "/var/lib/edge-uploader")
)
_WITHOUT_OWNERS = frozenset({"vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk"})
_CAPABILITY = "CAP_DAC_READ_SEARCH"
_LOOKED_AT = 1000
_TRIAL = ".edge-agent-trial"
_TRIALS = (
    ("with mode 0600 (a recorder with umask 077)", False, 0o600),
    ("moved or copied from a private folder with their mode (mv, cp -p), 0640", True, 0o640),
)


@dataclass(frozen=True, slots=True)
class Access:
    """What the owner of the device has chosen."""

    folder: Path
    """Without links in its path."""
    deletes: bool
    reads_everything: bool
    """By a capability, whatever the modes of the files say."""

    @property
    def group(self) -> str | None:
        """The recorder's own group: what it moves or copies into the folder keeps that, and no list's entry."""
        owner = self.folder.stat()
        try:
            user = pwd.getpwuid(owner.st_uid)
            return None if user.pw_uid == 0 else grp.getgrgid(user.pw_gid).gr_name
        except KeyError:
            return None

    @property
    def _wanted(self) -> int:
        return acl.READ | (acl.WRITE if self.deletes else 0)

    def give(self, machine: Machine) -> bool:
        """Give it; returns whether the service has to be started anew for that.

        Raises:
            SetupError: the folder's file system has no lists, or something else is in the way.
        """
        text, what = self._drop_in(), "what the service may do in the folder"
        is_changed = machine.file(DROP_IN, text, what) if text else machine.no_file(DROP_IN, what)
        if machine.rehearses and _no_user():
            machine.say(f"would make  {self.folder} open to {USER}, where it is not")
        elif not self.reads_everything or self.deletes:
            self._open_passage(machine)
            self._open_tree(machine)
        self._tell_of_other_folders(machine)
        return is_changed

    def _tell_of_other_folders(self, machine: Machine) -> None:
        needed = {TREE: [self.folder], PASSAGE: self.folder.parents}
        for one in machine.journal.made:
            if one.kind in needed and Path(one.name) not in needed[one.kind]:
                machine.say(
                    f"      note  {one.kind} {one.name} stays, for recordings that may wait there: --undo takes it back"
                )

    def _drop_in(self) -> str:
        lines = []
        if self.group is not None and not self.reads_everything:
            lines.append(f"SupplementaryGroups={self.group}")
        if self.deletes:
            lines.append(f'ReadWritePaths="-{_unit_text(self.folder)}"')
        if self.reads_everything:
            lines += [
                f"{key}={_CAPABILITY}" for key in ("AmbientCapabilities", "CapabilityBoundingSet")
            ]
        if not lines:
            return ""
        return "\n".join(["# Made by edge-agent setup.", "[Service]", *lines, ""])

    def _open_passage(self, machine: Machine) -> None:
        uid = uid_of(USER)
        for above in reversed(self.folder.parents):
            if not self._user.does(partial(os.access, above, os.X_OK)):
                machine.do(
                    PASSAGE,
                    str(above),
                    f"{USER} may pass through {above}",
                    partial(acl.let_through, os.fsencode(above), uid),
                )

    def _open_tree(self, machine: Machine) -> None:
        if self._user.does(self._is_open):
            machine.say(f"  is there  {self.folder} is open to {USER}")
            return
        machine.do(
            TREE,
            str(self.folder),
            f"{USER} may {'read and delete' if self.deletes else 'read'} in {self.folder}",
            self._open,
        )

    def _open(self) -> None:
        try:
            acl.open_folder(os.fsencode(self.folder), uid_of(USER), self._wanted)
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise
            raise SetupError(_without_lists(self.folder)) from error

    def _is_open(self) -> bool:
        """Return whether it is open to the user that we are now."""
        folder = self.folder
        mode = os.R_OK | os.X_OK | (os.W_OK if self.deletes else 0)
        if not os.access(folder, mode):
            return False
        return all(
            os.access(below, mode if is_folder else os.R_OK) for below, is_folder in _sample(folder)
        )

    @property
    def _user(self) -> User:
        """The service's user, in the groups that the service has."""
        groups = [] if self.group is None or self.reads_everything else [self.group]
        return User.named(USER, groups)

    def uncovered(self) -> Iterator[str]:
        """Say which files of the folder's owner the agent could not read: tried as both, and taken away.

        Never made as root: in a folder that others may write in, a name leads where they want.
        """
        if self.reads_everything:
            return
        owner, trial = User.owning(self.folder.stat()), self.folder / _TRIAL
        for what, moved_in, mode in _TRIALS:
            owner.does(partial(_remove, trial))  # of a run that was cut off
            if not owner.does(partial(_bring, trial, mode, moved_in=moved_in)):
                continue
            if not self._user.does(partial(os.access, trial, os.R_OK)):
                yield what
            owner.does(partial(_remove, trial))


def _without_lists(folder: Path) -> str:
    kind = kind_at(folder, read_mountinfo())
    refused = f"{folder} is closed to the user {USER}, and its file system ({kind}) takes no access lists."
    if kind in _WITHOUT_OWNERS:
        return (
            f"{refused} It knows no owners either: mount it with gid=GROUP,umask=0007 and add the user to that group:"
            f" usermod -aG GROUP {USER}. Then run this again."
        )
    return (
        f"{refused} Where the folder comes from, let a group read it (chgrp -R GROUP, chmod -R g+rX), and add the user to"
        f" that group here: usermod -aG GROUP {USER}. Then run this again."
    )


def _bring(trial: Path, mode: int, *, moved_in: bool) -> bool:
    fd = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    if moved_in:  # with the lists of where it comes from: none
        acl.write(fd, [e for e in acl.read(fd) if e.id == acl.NO_ID and e.tag != acl.MASK])
        os.fchmod(fd, mode)
    return True


def clear(folder: str) -> None:
    """Take away what a setup that was cut off has left of its trial in that folder."""
    with contextlib.suppress(OSError):
        User.owning(Path(folder).stat()).does(partial(_remove, Path(folder) / _TRIAL))


def _remove(trial: Path) -> None:
    trial.unlink(missing_ok=True)


def take_back(kind: str, folder: str) -> None:
    """Take the user's entries from a folder that may be gone, or be none any more.

    Raises:
        OSError: they are still there.
    """
    if _no_user():
        return
    try:
        (acl.close_folder if kind == TREE else acl.bar)(os.fsencode(folder), uid_of(USER))
    except OSError as error:
        if error.errno not in {*ABSENT, errno.ENOTSUP}:
            raise


def reads_everything() -> bool:
    """Return whether the service was given that before."""
    try:
        return _CAPABILITY in DROP_IN.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def real_folder(folder: Path) -> Path:
    """Return the folder without links.

    Raises:
        SetupError: it is not there, or is where the service cannot see it.
    """
    try:
        found = folder.resolve(strict=True)
        is_folder = stat.S_ISDIR(found.stat().st_mode)
    except OSError as error:
        raise SetupError(
            f"--folder {folder}: {error.strerror}. Make it, or put the card in and mount it, and run this again."
        ) from error
    if not is_folder:
        raise SetupError(f"--folder {folder} is a file: name the folder that the camera writes to.")
    if hidden_by(found, *UNSEEN) is not None:
        raise SetupError(
            f"--folder {folder}: a service has a {found.parts[1]} of its own, so the agent would not see that folder."
            " Let the recorder write to another place, such as /srv/recordings."
        )
    if any(found.is_relative_to(one) or one.is_relative_to(found) for one in _OF_THE_SYSTEM):
        raise SetupError(
            f"--folder {folder} holds more than recordings: name the folder that they are in."
        )
    if any(Path(user.pw_dir) == found for user in pwd.getpwall() if user.pw_uid != 0):
        raise SetupError(
            f"--folder {folder} is somebody's home, with keys and settings in it, which the agent would be given"
            " to read: name the folder in it that recordings are in."
        )
    return found


def _sample(folder: Path) -> Iterator[tuple[Path, bool]]:
    looked_at = 0
    for here, folders, files in os.walk(folder):
        for names, is_folder in ((folders, True), (files, False)):
            for name in names:
                if not (one := Path(here, name)).is_symlink():
                    yield one, is_folder
                looked_at += 1
                if looked_at >= _LOOKED_AT:
                    return


def _no_user() -> bool:
    try:
        return not pwd.getpwnam(USER)
    except KeyError:
        return True


def _unit_text(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
