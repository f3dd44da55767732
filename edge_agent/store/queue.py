"""Recordings in an order: by state, oldest first, or as they are to be sent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from edge_agent.core.groups import Role
from edge_agent.core.recording import Recording, Share
from edge_agent.core.upload import State
from edge_agent.store.database import Database
from edge_agent.store.schema import COLUMNS, to_recording

_LAST_SEQ = 2**63 - 1

# Word for word as the indexes have them: else SQLite does not see that one of them holds all of these.
_ALL = (("turn > 0", 0),)
"""Which recordings, and the least turn of them: so few indexes hold them that none is gone through for nothing."""


def _small(originals_from: int) -> tuple[tuple[str, int], ...]:
    return ("role > 0", 0), ("turn > 0 AND role = 0", len(Role) * originals_from)


class Queue(Protocol):
    """What is to be done, in pages.

    Raises:
        StoreError: from any method, when the database cannot be read.
    """

    newest_first: bool
    """Whether `due` begins with what was found last, of those that are equally urgent."""

    def in_states(
        self,
        *states: State,
        after_seq: int = 0,
        limit: int | None = None,
        share: Share | None = None,
    ) -> list[Recording]:
        """Return recordings in *states*, oldest first; None: all of them, however many.

        Args:
            share: of one watched folder; None: of all.
        """
        ...

    def due(
        self,
        *states: State,
        after: Recording | None = None,
        at_least: int = 0,
        ahead_of: Recording | None = None,
        originals_from: int = 0,
        silent: Collection[str] = (),
        limit: int,
    ) -> list[Recording]:
        """Return recordings in *states* in the order of sending: by turn, then as `newest_first` says.

        Args:
            after: the last one of the page before.
            at_least: leave out those of a lower priority.
            ahead_of: leave out those whose turn is not before that of this one.
            originals_from: leave out originals of a lower priority.
            silent: leave out those that were found in the watched folders of these names.
        """
        ...

    def latest(self, *states: State, limit: int) -> list[Recording]:
        """Return the newest recordings in *states*, newest first."""
        ...


def of_share(share: Share | None) -> tuple[str, tuple[str, ...]]:
    """Return the end of a condition that picks the recordings of *share*, and what it binds."""
    if share is None or share.others == frozenset():
        return "", ()
    if share.others is None:
        return " AND watch = ?", (share.name,)
    others = tuple(sorted(share.others))
    return f" AND watch NOT IN ({','.join('?' * len(others))})", others


def _answering(silent: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """Return the end of a condition that leaves out what was found in the folders *silent*, and what it binds.

    What a person named may lie elsewhere, as the nameless folder's name does not tell.
    """
    if not silent:
        return "", ()
    names = tuple(sorted(silent))
    return f" AND (origin != 'watch' OR watch NOT IN ({','.join('?' * len(names))}))", names


class EveryRecording:
    """The queue of all that is remembered."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.newest_first = False

    def in_states(
        self,
        *states: State,
        after_seq: int = 0,
        limit: int | None = None,
        share: Share | None = None,
    ) -> list[Recording]:
        where, names = of_share(share)
        return self._by_state(states, f"seq > ?{where}", (after_seq, *names), "seq", limit)

    def due(
        self,
        *states: State,
        after: Recording | None = None,
        at_least: int = 0,
        ahead_of: Recording | None = None,
        originals_from: int = 0,
        silent: Collection[str] = (),
        limit: int,
    ) -> list[Recording]:
        least = max(len(Role) * at_least, 0 if ahead_of is None else ahead_of.turn + 1)
        page: list[Recording] = []
        if after is None or after.turn > 0:
            kinds = _ALL if originals_from <= 0 else _small(originals_from)
            page = self._ahead(kinds, states, after, least, silent=silent, limit=limit)
        if len(page) < limit and least <= 0 and originals_from <= 0:
            first, behind, order = self._way()
            after_seq = first if after is None or after.turn > 0 else after.seq
            others, names = _answering(silent)
            where, bound = f"turn = 0 AND seq {behind} ?{others}", (after_seq, *names)
            page += self._by_state(states, where, bound, order, limit - len(page))
        return page

    def latest(self, *states: State, limit: int) -> list[Recording]:
        return self._by_state(states, "seq <= ?", (_LAST_SEQ,), "seq DESC", limit)

    def _ahead(
        self,
        kinds: Sequence[tuple[str, int]],
        states: Sequence[State],
        after: Recording | None,
        least: int,
        *,
        silent: Collection[str],
        limit: int,
    ) -> list[Recording]:
        others, names = _answering(silent)
        first, behind, order = self._way()
        last, seq = (_LAST_SEQ, first) if after is None else (after.turn, after.seq)
        selects, values = [], []
        for kind, lowest in kinds:
            for state in states:
                selects.append(
                    f"SELECT * FROM (SELECT {COLUMNS}, turn FROM recording WHERE state = ? AND {kind}"
                    f" AND turn >= ? AND (turn < ? OR (turn = ? AND seq {behind} ?)){others}"
                    f" ORDER BY turn DESC, {order} LIMIT ?)"
                )
                values += [state, max(least, lowest), last, last, seq, *names, limit]
        return self._page(selects, values, f"turn DESC, {order}", limit)

    def _way(self) -> tuple[int, str, str]:
        """Return the number before the first, how the next ones compare with it, and their order."""
        return (_LAST_SEQ, "<", "seq DESC") if self.newest_first else (0, ">", "seq")

    def _by_state(
        self,
        states: Sequence[State],
        where: str,
        bound: Sequence[object],
        order: str,
        limit: int | None,
    ) -> list[Recording]:
        """Look into the index once per state: SQLite would sort all that are in any of them."""
        one = (
            f"SELECT * FROM (SELECT {COLUMNS} FROM recording WHERE state = ? AND {where}"
            f" ORDER BY {order} LIMIT ?)"
        )
        most = -1 if limit is None else limit
        values = [value for state in states for value in (state, *bound, most)]
        return self._page([one] * len(states), values, order, most)

    def _page(
        self, selects: Sequence[str], values: Sequence[object], order: str, most: int
    ) -> list[Recording]:
        with self._database.reading() as run:
            # The words are this module's own literals; every value is bound.
            rows = run.execute(
                f"{' UNION ALL '.join(selects)} ORDER BY {order} LIMIT ?", (*values, most)
            ).fetchall()
        return [to_recording(row) for row in rows]


class Chosen:
    """The queue of a few recordings that a person named: wanted now, whatever their priority."""

    def __init__(self, get: Callable[[str], Recording | None], ids: Collection[str]) -> None:
        self._get = get
        self._ids = ids
        self.newest_first = False

    def in_states(
        self,
        *states: State,
        after_seq: int = 0,
        limit: int | None = None,
        share: Share | None = None,
    ) -> list[Recording]:
        found = (self._get(one) for one in self._ids)
        wanted = [
            one
            for one in found
            if one is not None
            and one.state in states
            and one.seq > after_seq
            and (share is None or share.has(one.watch))
        ]
        return sorted(wanted, key=lambda one: one.seq)[:limit]

    def due(
        self,
        *states: State,
        after: Recording | None = None,
        at_least: int = 0,  # noqa: ARG002 a person's word is above the owner's rules of priority
        ahead_of: Recording | None = None,  # noqa: ARG002
        originals_from: int = 0,  # noqa: ARG002
        silent: Collection[str] = (),
        limit: int,
    ) -> list[Recording]:
        found = self.in_states(*states, after_seq=0 if after is None else after.seq)
        return [one for one in found if one.origin != "watch" or one.watch not in silent][:limit]

    def latest(self, *states: State, limit: int) -> list[Recording]:
        return self.in_states(*states)[::-1][:limit]
