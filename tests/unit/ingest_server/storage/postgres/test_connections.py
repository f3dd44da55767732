"""What is said of a database that cannot be used."""

import pytest

from ingest_server.core.errors import StateError
from ingest_server.storage.postgres.transactions import PostgresState


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://ingest:hunter2@127.0.0.1:1/db", "postgresql://ingest@127.0.0.1:1/db"),
        (
            "postgresql://127.0.0.1:1/db?user=ingest&password=hunter2&connect_timeout=1",
            "postgresql://127.0.0.1:1/db?user=ingest&connect_timeout=1",
        ),
        (
            "postgresql://ingest:hunter2@127.0.0.1:1/db?sslpassword=hunter2",
            "postgresql://ingest@127.0.0.1:1/db",
        ),
        ("postgresql://127.0.0.1:1/db?pass%77ord=hunter2", "postgresql://127.0.0.1:1/db"),
        (
            "postgresql://ingest:?hunter2@127.0.0.1:1/db",
            "postgresql://ingest@127.0.0.1:1/db",
        ),
        ("postgresql:///db?host=127.0.0.1&port=1", "postgresql:///db?host=127.0.0.1&port=1"),
    ],
)
def test_no_password_is_in_what_an_operator_reads(url, said):
    with pytest.raises(StateError) as refused:
        PostgresState.open(url)

    assert str(refused.value).startswith(f"cannot use the database {said} (")
    assert "hunter2" not in str(refused.value)
