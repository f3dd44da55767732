"""The agent as a program in which one thing that only helps raises at each of its calls.

python -m tests.support.failing_helper MODULE:NAME FILE run --config FILE

What is put in the place of MODULE's NAME writes a line into the first FILE at each call, and raises what nobody
expects there. NAME may be a class's function (``Class.function``), or a module that MODULE has imported.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from edge_agent import cli


class _Raises:
    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(self, *_: object, **__: object) -> NoReturn:
        with self._file.open("a", encoding="ascii") as told:
            told.write("raised\n")
        raise RuntimeError("an odd failure of what only helps")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self()


def put_in(seam: str, file: Path) -> None:
    module, _, name = seam.partition(":")
    owner: Any = import_module(module)
    *path, last = name.split(".")
    for one in path:
        owner = getattr(owner, one)
    assert hasattr(owner, last), f"{seam} is no more"
    setattr(owner, last, _Raises(file))


if __name__ == "__main__":
    put_in(sys.argv[1], Path(sys.argv[2]))
    del sys.argv[1:3]
    sys.exit(cli.main())
