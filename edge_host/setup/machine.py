"""The hand that changes the machine: says each thing, notes it, does it; or only says it, in a rehearsal."""

from __future__ import annotations

import contextlib
import grp
import hashlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from edge_host.durable import sync
from edge_host.setup.durable import make_folder, put
from edge_host.setup.errors import SetupError, in_words
from edge_host.setup.journal import FOLDER as JOURNALS
from edge_host.setup.journal import Journal

FILE, FOLDER, SERVICE = "file", "folder", "start of"
"""What is made, in the words in which it is said to be removed."""
UNFINISHED = "unfinished"
"""Something was changed, and the service has not been started anew since: whoever was cut off does not know what."""
_COMMAND_S = 120.0

_say = partial(print, flush=True)


class Machine:
    """What a setup does to it.

    Args:
        rehearses: says what would be done, and does nothing.
        say: a line for the person.
    """

    def __init__(self, journal: Journal, *, rehearses: bool, say: Callable[[str], None]) -> None:
        self.journal = journal
        self.rehearses = rehearses
        self.say = say
        self.was_cut_off = journal.find(UNFINISHED, "") is not None
        self._rehearsed: set[Path] = set()

    def user(self, name: str, what: str, home: str) -> None:
        """Have a system user of that name; it stays at an undo, since files may belong to it.

        Raises:
            SetupError: it cannot be made.
        """
        if _uid(name) is not None:
            self.say(f"  is there  the user {name}")
        else:
            with self._making(f"the user {name}") as is_meant:
                if is_meant:
                    _add_user(name, what, home)

    def folder(self, path: Path, *, mode: int, owner: str = "root") -> None:
        """Have a folder; one that is there stays as it is.

        Raises:
            SetupError: it cannot be made.
        """
        if path.is_dir() or (self.rehearses and path in self._rehearsed):
            return
        self._rehearsed.add(path)
        if not path.parent.is_dir():
            self.folder(path.parent, mode=0o755)
        with self._making(f"{path}/") as is_meant:
            if is_meant:
                self.journal.note(FOLDER, str(path))
                make_folder(path, mode=mode, uid=uid_of(owner), gid=gid_of(owner))

    def file(
        self, path: Path, text: str | bytes, what: str, *, mode: int = 0o644, group: str = "root"
    ) -> bool:
        """Have a file with that content; returns whether it had to be written.

        Raises:
            SetupError: another's file is there, or it cannot be written.
        """
        content = text if isinstance(text, bytes) else text.encode()
        found = _content(path)
        made = self.journal.find(FILE, str(path))
        if found == content and (made is None or self.rehearses or _has(path, mode, group)):
            self.say(f"  is there  {path} ({what})")
            return False
        if found is not None and found != content and not self.wrote(path):
            raise SetupError(
                f"{_is_others(path, what)}, or put into it what setup would write (--show prints that)."
            )
        self.folder(path.parent, mode=0o755)
        with self._making(f"{path} ({what})") as is_meant:
            if is_meant:
                self.journal.note(FILE, str(path), digest(content))
                put(path, content, mode=mode, gid=gid_of(group))
        return True

    def no_file(self, path: Path, what: str) -> bool:
        """Have no file there that an earlier setup has written; returns whether there was one.

        Raises:
            SetupError: somebody has changed it since, or it cannot be removed.
        """
        made = self.journal.find(FILE, str(path))
        if made is None:
            return False
        is_there = _content(path) is not None
        if is_there and not self.wrote(path):
            raise SetupError(f"{_is_others(path, what)}.")
        if not self.rehearses:
            with in_words(f"Not removed: {path} ({what})"):
                if is_there:
                    self.change()
                    path.unlink()
                    sync(path.parent)
                self.journal.forget(made)
        if is_there:
            self.say(f"{'would remove' if self.rehearses else '   removed'}  {path} ({what})")
        return is_there

    def wrote(self, path: Path) -> bool:
        """Return whether what is at *path* is as setup has written it.

        Raises:
            SetupError: it cannot be read.
        """
        made, found = self.journal.find(FILE, str(path)), _content(path)
        return made is not None and found is not None and digest(found) in made.marks

    def do(self, kind: str | None, name: str, what: str, action: Callable[[], None]) -> None:
        """Do something that is undone by what is registered for *kind*; None: that stays.

        Raises:
            SetupError: it cannot be done.
        """
        with self._making(what) as is_meant:
            if is_meant:
                if kind is not None:
                    self.journal.note(kind, name)
                action()

    def change(self) -> None:
        """Note that something is about to be changed that the service may not know of yet.

        Raises:
            OSError: it is not noted, so it must not be changed.
        """
        self.journal.note(UNFINISHED, "")

    def finish(self) -> None:
        """Note that the service knows it all.

        Raises:
            OSError: it is still noted that it does not.
        """
        self.was_cut_off = False
        if (one := self.journal.find(UNFINISHED, "")) is not None:
            self.journal.forget(one)

    @contextlib.contextmanager
    def _making(self, what: str) -> Iterator[bool]:
        """Yield whether it is to be made and not only said; that it is made is said once it is."""
        with in_words(f"Not made: {what}"):
            if not self.rehearses:
                self.change()
            yield not self.rehearses
        self.say(f"{'would make' if self.rehearses else '      made'}  {what}")


def _is_others(path: Path, what: str) -> str:
    return f"{path} ({what}) is there, and setup has not written it as it is now. Move it away"


def _add_user(name: str, what: str, home: str) -> None:
    if shutil.which("systemd-sysusers"):
        run("systemd-sysusers", "--inline", f'u {name} - "{what}" {home}')
    else:
        try:
            group = f"--gid={grp.getgrnam(name).gr_gid}"  # as a user of that name left it
        except KeyError:
            group = "--user-group"
        run("useradd", "--system", group, "--home-dir", home, "--comment", what, name)


def run(*command: str | Path, input_: bytes | None = None) -> bytes:
    """Run a program of the machine; return what it printed.

    Raises:
        SetupError: it is not there, or it failed; with its last words.
    """
    try:
        done = subprocess.run(
            command, input=input_, capture_output=True, timeout=_COMMAND_S, check=False
        )
    except FileNotFoundError as error:
        raise SetupError(
            f"the program {command[0]} is not installed, and setup needs it."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"{_shown(command)} was not done after {_COMMAND_S:.0f} s.") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [
            f"exit code {done.returncode}"
        ]
        raise SetupError(f"{_shown(command)} failed: {said[-1]}")
    return done.stdout


def _shown(command: Sequence[str | Path]) -> str:
    return " ".join(map(str, command[:3]))


def digest(content: bytes) -> str:
    """Return what tells a file of ours from a changed one."""
    return hashlib.sha256(content).hexdigest()


def uid_of(user: str) -> int:
    """Return the number of a user.

    Raises:
        SetupError: there is none of that name.
    """
    found = _uid(user)
    if found is None:
        raise SetupError(f"there is no user {user}.")
    return found


def gid_of(group: str) -> int:
    """Return the number of a group.

    Raises:
        SetupError: there is none of that name.
    """
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise SetupError(f"there is no group {group}.") from None


def has_user(name: str) -> bool:
    """Return whether this machine knows a user of that name."""
    return _uid(name) is not None


def _uid(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _has(path: Path, mode: int, group: str) -> bool:
    found = path.stat()
    return (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (mode, 0, gid_of(group))


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise SetupError(f"{path} cannot be read: run this as root (sudo).") from error
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}.") from error


def machine_for(journal: str, *, rehearses: bool) -> Machine:
    """Return the hand of a program that notes what it makes under the name *journal*; alone, unless it rehearses.

    Raises:
        SetupError: this is not root, or another setup is at work.
    """
    noted = JOURNALS / journal
    if rehearses:
        found = Machine(Journal(noted), rehearses=True, say=_say)
        if os.geteuid() != 0:
            _say(
                "      note  what only root can see counts as not there: as root (sudo), this tells more"
            )
        return found
    if os.geteuid() != 0:
        raise SetupError(
            "setup changes this machine: run it as root (sudo). --dry-run shows what it would do."
        )
    journal_of_root = Journal(noted)
    journal_of_root.lock()
    return Machine(journal_of_root, rehearses=False, say=_say)
