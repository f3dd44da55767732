"""Where SQLite's SQL and PostgreSQL's differ.

Statements are written with ``?`` for each value, types that both have, and what stands here. Text compares
by its bytes in both.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """Expressions over a row of ``uploads``, but where it says otherwise."""

    verified_at: str
    """When the file was verified, as the receipt says."""
    origin: str
    """Which upload published the file."""
    published_as: str
    """Where below the published folder, as the receipt says."""
    reach: str
    """The offset after the last byte that is recorded; NULL: there is none."""
    due: str
    """How many bytes of its length are not recorded yet."""
    now: str
    """The time, as RFC 3339."""
    last_event: str
    """The number of the newest event that there ever was; NULL, or 0: none."""
    like: str
    """The operator that compares with a pattern, whatever the case."""
    no_limit: str
    names_indexes: bool
    """Whether a statement may say which index it means."""

    def by(self, index: str) -> str:
        """Return what follows a table's name, so that *index* is used and no other."""
        return f"INDEXED BY {index}" if self.names_indexes else ""


SQLITE = Dialect(
    verified_at="json_extract(receipt, '$.verified_at')",
    origin="json_extract(receipt, '$.upload_id')",
    published_as="json_extract(receipt, '$.published_as')",
    reach="json_extract(received, '$[#-1][1]')",
    due=(
        "max(0, length - (SELECT coalesce(sum(json_extract(value, '$[1]') - "
        "json_extract(value, '$[0]')), 0) FROM json_each(received)))"
    ),
    now="strftime('%Y-%m-%dT%H:%M:%SZ', 'now')",
    last_event="(SELECT seq FROM sqlite_sequence WHERE name = 'events')",
    like="LIKE",
    no_limit="-1",
    names_indexes=True,
)

# By their text, where it is a receipt: a name in it may hold what PostgreSQL's json refuses (U+0000), and
# a quote within a name is escaped, so that nothing of a name looks like a member.
POSTGRES = Dialect(
    verified_at="""substring(receipt FROM '"verified_at": "([^"\\\\]*)"')""",
    origin="""substring(receipt FROM '"upload_id": "([0-9a-f]*)"')""",
    published_as="CASE WHEN receipt IS NOT NULL THEN target END",
    reach="(received::json -> -1 ->> 1)::bigint",
    due=(
        "greatest(0, length - (SELECT coalesce(sum((one ->> 1)::bigint - (one ->> 0)::bigint), 0) "
        "FROM json_array_elements(received::json) AS runs (one)))"
    ),
    now="""to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')""",
    last_event="(SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM events_seq_seq)",
    like="ILIKE",
    no_limit="ALL",
    names_indexes=False,
)
