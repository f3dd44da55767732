"""The contracts of the protocols, and the laws, on PostgreSQL and an S3 store."""

from pathlib import Path

import pytest

from tests.support.engines import on_engines
from tests.support.postgres import postgres
from tests.support.seaweed import seaweed

pytestmark = pytest.mark.slow

SOME = "own and (created_sent_completed or created_sent_and_published or come_in_pieces)"
TREE = Path(__file__).parents[2]
SUITES = [f"tests/contract/{name}" for name in ("tus", "native", "rufh")]
SUITES += sorted(str(one.relative_to(TREE)) for one in TREE.glob("tests/contract/compat/test_*.py"))


@pytest.fixture(scope="module")
def engines():
    with postgres() as database, seaweed() as store:
        yield database, store


@pytest.mark.timeout(240)
def test_some_of_each_protocol_is_as_on_files(engines):
    assert "passed" in on_engines(*engines, *SUITES[:3], "-k", SOME, timeout_s=220)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("suite", SUITES)
def test_every_protocol_is_as_on_files(engines, suite):
    said = on_engines(*engines, suite, "-m", "not nightly", "--timeout=300", timeout_s=1700)
    assert "passed" in said
