"""What `setup` has made on this machine: noted, durable, before it is made, so that a power cut hides nothing."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from edge_host.durable import sync
from edge_host.setup.durable import put
from edge_host.setup.errors import SetupError

FOLDER = Path("/var/lib/edge-uploader/setup")


@dataclass(slots=True)
class Made:
    """One thing; whether it came to be is seen on the machine itself."""

    kind: str
    name: str
    """A path, or whatever the thing is called."""
    marks: list[str] = field(default_factory=list)
    """What tells ours from another's: of a file, the SHA-256 of each content that was put there."""


class Journal:
    """The list, in one file.

    Raises:
        SetupError: it is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.made: list[Made] = []
        try:
            found = json.loads(path.read_bytes())
            self.made = [Made(one["kind"], one["name"], list(one["marks"])) for one in found]
        except FileNotFoundError:
            pass
        except PermissionError as error:
            raise SetupError(
                f"Setup has run here, and only root may read what it made ({path}): run this as root (sudo). --dry-run"
                " changes nothing then either."
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SetupError(
                f"{path}, the list of what setup has made here, cannot be read ({error}). Move it away: setup then"
                " works, and what was made before is left by --undo."
            ) from error

    def find(self, kind: str, name: str) -> Made | None:
        return next((one for one in self.made if (one.kind, one.name) == (kind, name)), None)

    def note(self, kind: str, name: str, mark: str | None = None) -> None:
        """Note what is about to be made.

        Raises:
            OSError: it is not noted, so it must not be made.
        """
        one = self.find(kind, name)
        if one is None:
            one = Made(kind, name)
            self.made.append(one)
        elif mark is None or mark in one.marks:
            return
        if mark is not None:
            one.marks.append(mark)
        self._write()

    def forget(self, one: Made) -> None:
        """Note that it is no more; the file goes with the last.

        Raises:
            OSError: it is still noted.
        """
        self.made.remove(one)
        if self.made:
            self._write()
        else:
            self.path.unlink(missing_ok=True)
            sync(self.path.parent)

    def leave(self) -> None:
        """Take away the folders that were made for the list itself, if nothing is in them."""
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()
            self.path.parent.parent.rmdir()

    def lock(self) -> None:
        """Keep other setups of this machine off until this program ends.

        Raises:
            SetupError: one is at work.
        """
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._held = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SetupError(
                "Another setup is at work on this machine: let it end first."
            ) from error

    def _write(self) -> None:
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        rows = [asdict(one) for one in self.made]
        put(self.path, json.dumps(rows, indent=1).encode(), mode=0o600)
