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


_groups: ContextVar[frozenset[str]] = ContextVar("groups", default=frozenset())


def now_for(question: Question, groups: frozenset[str] = frozenset()) -> None:
    """Say how to ask, for everything that this thread does until the next call; and the caller's groups."""
    _question.set(question)
    _groups.set(groups)


def groups() -> frozenset[str]:
    """Return the groups of the token by which the caller of this thread came in."""
    return _groups.get()


def question() -> Question:
    """Return how to ask about the caller of this thread; it may be asked from any other."""
    return _question.get()
