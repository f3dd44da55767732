"""The faults of the mutation run: each is one change in one place, and found again by its name."""

import ast
from dataclasses import replace

import pytest

from tests.mutation.__main__ import DID_NOT_END, ROOT, Copy, Fault, all_faults
from tests.mutation.sites import sites
from tests.mutation.survivors import reasons

SOURCE = b'''"""Words with 1 < 2 in them."""
from __future__ import annotations

LIMIT: int = 5


@dataclass(frozen=True)
class Box:
    """A box."""

    size: float = 2.0

    def __init__(self) -> None:
        self.left = 0

    def takes(self, more: Literal[3], other: int) -> bool:
        """Return whether it does."""
        if not more or self.left < LIMIT <= 9:
            self.left += more
            log(f"{1 + 1} boxes")
        return compare(more, other)
'''


def texts() -> dict[str, str]:
    return {site.name: site.put_into(SOURCE).decode() for site in sites(SOURCE, "box")}


def test_every_fault_is_one_place_that_still_reads_as_python():
    before = ast.dump(ast.parse(SOURCE))

    for name, text in texts().items():
        assert ast.dump(ast.parse(text)) != before, name


def test_what_does_not_run_is_left_alone():
    assert set(texts()) == {
        "box.LIMIT: 5 -> 6",
        "box.Box.size: 2.0 -> 3.0",
        "box.Box.__init__: 0 -> 1",
        "box.Box.takes: not more or self.left < LIMIT <= 9 -> (not more and self.left < LIMIT <= 9)",
        "box.Box.takes: not more -> (more)",
        "box.Box.takes: self.left < LIMIT <= 9 -> (self.left <= LIMIT <= 9)",
        "box.Box.takes: self.left < LIMIT <= 9 -> (self.left < LIMIT < 9)",
        "box.Box.takes: 9 -> 10",
        "box.Box.takes: self.left += more -> pass",
        'box.Box.takes: log(f"{1 + 1} boxes") -> pass',
        "box.Box.takes: return compare(more, other) -> return None",
        "box.Box.takes: compare(more, other) -> compare(other, more)",
    }


def test_a_fault_keeps_its_name_and_its_place_in_the_draw_when_the_file_around_it_changes():
    moved = b"# a line more\n" + SOURCE.replace(b"LIMIT: int = 5", b"LIMIT: int = 7")

    before = {site.name: site.rank(1) for site in sites(SOURCE, "box")}
    after = {site.name: site.rank(1) for site in sites(moved, "box")}

    assert {name for name in before if name not in after} == {"box.LIMIT: 5 -> 6"}
    assert all(before[name] == after[name] for name in before if name in after)


def test_the_same_words_twice_in_one_function_are_two_faults():
    found = sites(b"def f(a):\n    return a + a + 1, a + 1\n", "m")

    assert len({site.name for site in found}) == len(found)
    assert "m.f: 1 -> 2 (2)" in {site.name for site in found}


def test_a_survivor_has_a_reason_that_is_known():
    assert reasons("# a comment\ntuning a.b: 1 -> 2  # why\n") == {"a.b: 1 -> 2": "tuning"}
    for line in ("because a.b: 1 -> 2", "tuning"):
        with pytest.raises(ValueError, match="not a reason and a site"):
            reasons(line)


def test_what_is_listed_is_a_place_of_the_tree():
    assert set(reasons()) <= {one.site.name for one in all_faults(ROOT)}


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "is_noticed"), [("7.0", False), ("'six'", True)])
def test_a_busy_machine_is_not_taken_for_a_fault_that_was_noticed(tmp_path, fault, is_noticed):
    suites = (("unit/edge_agent/core/test_stall.py",),)
    [found] = [one for one in all_faults(ROOT) if one.site.name.startswith("stall._PATIENCE_S")]

    outcome = Copy(tmp_path / "copy", 0.05).try_out(
        Fault(found.path, replace(found.site, after=fault), suites)
    )

    assert outcome.is_noticed == is_noticed
    assert outcome.by != DID_NOT_END
