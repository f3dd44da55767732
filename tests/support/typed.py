"""The environment of somebody who types a command: nothing of the make that may have started the tests is in it."""

import os

_OF_MAKE = ("MAKE", "MFLAGS", "ARGS", "WORKERS", "VENV", "PYTHON")
"""What begins so was handed down: another make would take it for its own."""


def as_typed() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_OF_MAKE)}
