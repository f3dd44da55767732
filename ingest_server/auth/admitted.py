"""Whether the caller that a thread works for may still do so: asked again while it goes on.

A request is admitted when it begins and may run for hours. Whoever acknowledges something on its
behalf asks again first, so that a token that was revoked or has expired meanwhile brings nothing
more.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

Question = Callable[[], None]
"""Raises `Refused` once the caller may do nothing more."""


def for_itself() -> None:
    """Refuse nothing: the server does it by itself."""


_question: ContextVar[Question] = ContextVar("still_admitted", default=for_itself)


def now_for(question: Question) -> None:
    """Say how to ask, for everything that this thread does until the next call."""
    _question.set(question)


def question() -> Question:
    """Return how to ask about the caller of this thread; it may be asked from any other."""
    return _question.get()
