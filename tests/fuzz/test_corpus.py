"""What was ever worth trying, tried again by every run: one file, one input."""

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
@pytest.mark.timeout(5)
def test_a_stored_input_is_taken_or_refused_and_nothing_else(path):
    TARGETS[path.parent.name](path.read_bytes())


def test_every_target_has_a_corpus_and_every_corpus_a_target():
    assert {path.parent.name for path in FILES} == TARGETS.keys()
