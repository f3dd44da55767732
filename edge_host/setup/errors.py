"""What ends a setup."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class SetupError(Exception):
    """Something stands in the way; the message says what, and what to do. What was done so far is noted."""


@contextlib.contextmanager
def in_words(doing: str = "") -> Iterator[None]:
    """Turn what the disk refuses into a sentence, which begins with what was to be done.

    Around each thing that is made, for its name; and around the whole of a setup, so that none is a traceback.

    Raises:
        SetupError: in place of such an error.
        BrokenPipeError: nobody reads what setup says.
    """
    try:
        yield
    except BrokenPipeError:  # nobody reads what setup says any more
        raise
    except OSError as error:
        what = doing or str(error.filename or "setup cannot go on")
        raise SetupError(
            f"{what}: {error.strerror or error}. Mend that and run this again."
        ) from error
