"""What keeps the agent small in memory: libraries that wait for their first use, and a heap given back.

structlog and pydantic-settings import asyncio for functions that nobody calls here, importlib.metadata
imports the readers of archives, structlog what makes up identifiers, dotenv what copies files, httpx the names of hosts in other scripts and anyio, calendar all
languages: together 4 MiB for as long as the agent runs. What is deferred works as ever; it is only loaded
later.

`importlib.util.LazyLoader` does not do: before Python 3.13 the next ``import`` of a module that it
made loads it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

UNUSED = (
    "anyio",
    "asyncio",
    "bz2",
    "certifi",
    "csv",
    "difflib",
    "idna",
    "locale",
    "lzma",
    "mimetypes",
    "platform",
    "shutil",
    "stringprep",
    "subprocess",
    "sysconfig",
    "tempfile",
    "uuid",
    "zipfile",
)

FORGONE = ("click", "pygments", "rich")
"""What structlog and httpx do without, and load where somebody else has installed it: 5 MiB."""

_WAITING = "_deferred_spec"
_loading = threading.RLock()
_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
_mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
_M_ARENA_MAX = -8


class _Deferred(ModuleType):
    def __getattr__(self, name: str) -> Any:
        with _loading:
            # Another thread may have loaded it meanwhile. None: this one is at it, and asks too early.
            spec: ModuleSpec | None = self.__dict__.get(_WAITING)
            if spec is not None:
                self._load(spec)
            elif name not in self.__dict__:
                raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(self, name)

    def _load(self, spec: ModuleSpec) -> None:
        loader = spec.loader
        if loader is None:  # `defer` takes none without
            raise ImportError(f"{spec.name} cannot be loaded", name=spec.name)
        del self.__dict__[_WAITING]
        if spec.submodule_search_locations is not None:
            self.__path__ = spec.submodule_search_locations
        try:
            loader.exec_module(self)
        except BaseException:
            self.__dict__[_WAITING] = spec
            raise
        self.__class__ = ModuleType  # type: ignore[assignment]  # mypy takes it for a class of its own


def defer(names: Iterable[str] = UNUSED) -> None:
    """Load the top-level modules *names* at the first use of one of their attributes.

    For the start of a program, before others import them; what is loaded already stays as it is, and
    what is not installed is left to fail where it is imported.
    """
    # Since Python 3.12 each log record asks asyncio for the name of its task, if that is imported.
    logging.logAsyncioTasks = False  # type: ignore[attr-defined]  # not in 3.11
    for name in names:
        spec = None if name in sys.modules else importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            continue
        module = importlib.util.module_from_spec(spec)
        # Of a package the import of a part asks for this first, which must load the whole.
        module.__dict__.pop("__path__", None)
        module.__dict__[_WAITING] = spec
        module.__class__ = _Deferred
        sys.modules[name] = module


def forgo() -> None:
    """Have the modules `FORGONE` count as not installed from now on; what is loaded already stays as it is."""
    for name in FORGONE:
        # None is what the import system takes so; its type does not say it.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def share_one_heap() -> None:
    """Let all threads use the one heap of the C library; before there is a second thread.

    glibc gives each a heap of its own, which saves it from waiting for others: what the interpreter
    sees to anyway. Does nothing where there is no glibc; what a person has set stays.
    """
    if _mallopt is not None and "MALLOC_ARENA_MAX" not in os.environ:
        _mallopt(_M_ARENA_MAX, 1)


def trim() -> None:
    """Return free pages of the C library's heap to the system, which glibc keeps otherwise.

    Some 50 µs; does nothing where there is no glibc. What reading the settings and a scan of a full
    card took is free soon after.
    """
    if _malloc_trim is not None:
        _malloc_trim(ctypes.c_size_t(0))
