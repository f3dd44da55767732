"""The owner's priorities by folder, size and age: put on what is found, what settles and what grows old."""

from datetime import timedelta

from edge_agent.core.recording import Found, Identity
from edge_agent.core.schedule import PriorityRule
from edge_agent.core.upload import State
from edge_agent.store import priorities
from tests.support.agent_store import open_store
from tests.support.present import present
from tests.support.rim import StillClock, watched_folder

HOUR = 3600


class AtNoon(StillClock):
    is_set = True

    def is_synchronised(self):
        return self.is_set


def add(store, clock, name, *, age_s=0, length=10, watch=""):
    written = clock.now_utc() - timedelta(seconds=age_s)
    identity = Identity(1, 1, length, int(written.timestamp() * 1e9), 1)
    [one] = store.add([Found(name.encode(), watch, name, identity, watch)])
    return one


def ranks(store):
    return {one.name: one.priority for one in store.in_states(*State)}


def test_folder_size_and_age_decide_the_first_rule_that_fits(path):
    store, clock = open_store(path), AtNoon()
    rules = [
        PriorityRule("*", 50, watch="front", younger_than_s=HOUR),
        PriorityRule("*", 20, max_bytes=100),
        PriorityRule("*", 5, older_than_s=HOUR),
    ]
    priorities.apply(store, rules, clock)

    add(store, clock, "young", watch="front", length=10**9)
    add(store, clock, "small", watch="rear", length=100)
    add(store, clock, "old", age_s=2 * HOUR, length=10**9)
    add(store, clock, "none", length=10**9)

    assert ranks(store) == {"young": 50, "small": 20, "old": 5, "none": 0}
    store.close()


def test_what_grows_old_changes_its_place_at_the_next_look_and_what_a_person_chose_does_not(path):
    store, clock = open_store(path), AtNoon()
    priorities.apply(store, [PriorityRule("*", 50, younger_than_s=HOUR)], clock)
    add(store, clock, "a")
    store.choose_priority(add(store, clock, "b"), 70)

    clock.is_set = False
    assert priorities.review(store, 0) is None
    assert ranks(store) == {"a": 0, "b": 70}

    clock.is_set = True
    assert priorities.review(store, 0) is None
    assert ranks(store) == {"a": 50, "b": 70}
    store.close()


def test_a_look_takes_some_of_a_long_queue_and_goes_on_behind_them(path):
    store = open_store(path)
    store.add([Found(b"%d" % n, "", str(n), Identity(1, n, 1, 0, 0)) for n in range(501)])
    store.priority_of = lambda _: 3

    after = priorities.review(store, 0)

    assert sum(ranks(store).values()) == 3 * 500
    assert priorities.review(store, present(after)) is None
    assert sum(ranks(store).values()) == 3 * 501
    store.close()


def test_a_recording_that_grew_is_ranked_by_the_length_that_it_ended_with(tmp_path):
    with watched_folder(tmp_path) as folder:
        priorities.apply(folder.store, [PriorityRule("*", 9, max_bytes=10)])
        path = folder.write("a.mp4", b"begun")
        folder.look()
        assert folder.only().priority == 9

        path.write_bytes(b"much longer than that")
        folder.settle()

        assert (folder.only().state, folder.only().priority) == (State.STABLE, 0)
