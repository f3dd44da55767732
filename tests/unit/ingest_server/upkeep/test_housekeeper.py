"""What is done when a server leads instead of another one."""

import pytest

from ingest_server.core.errors import Refused
from ingest_server.upkeep.housekeeper import CLEAR_EVERY_S, Housekeeper
from ingest_server.upkeep.recovery import Recovery
from tests.support.switched_lead import SwitchedLead
from upload_protocol.ranges import ByteRange


def test_what_a_new_leader_could_not_put_in_order_is_tried_again(site):
    tried = []

    def put_in_order():
        tried.append(site.blobs.part_ids())
        if len(tried) == 1:
            raise Refused("server-busy", "the database is away")

    lead = SwitchedLead()
    keeper = Housekeeper(site.store, site.receiver, site.audit, lead=lead, on_lead=put_in_order)
    keeper.recover()
    site.blobs.create_part("0" * 32)  # the leader before knew nothing of it
    lead.give()

    with pytest.raises(Refused, match="away"):
        keeper.keep_all()
    site.blobs.create_part("1" * 32)
    keeper.keep_all()
    keeper.keep_all()

    assert tried == [[], []], "each after the parts were looked at, and once more"


def test_where_asking_about_every_upload_takes_a_while_no_request_waits_for_it(site):
    site.blobs.create_part("0" * 32)
    keeper = Housekeeper(site.store, site.receiver, site.audit, mends_first=False)

    found = keeper.recover()
    at_the_start = site.blobs.part_ids()
    keeper.keep_all()

    assert (found, at_the_start, site.blobs.part_ids()) == (Recovery(), ["0" * 32], [])


@pytest.mark.parametrize(("mends_first", "left"), [(False, 1), (True, 2)])
def test_what_came_for_an_upload_that_has_ended_goes_within_an_hour_beside_a_bucket_alone(
    site, mends_first, left
):
    keeper = Housekeeper(site.store, site.receiver, site.audit, mends_first=mends_first)
    keeper.recover()
    keeper.keep_all()
    kept, ended = site.create(length=9), site.create(length=9)
    site.put(kept, 0, b"123")
    site.receiver.abort("cam", ended)
    site.blobs.create_part(ended)  # so it is after bytes that came late

    site.clock.seconds += CLEAR_EVERY_S - 1
    keeper.keep_all()
    before = site.blobs.part_ids()
    site.clock.seconds += 1
    keeper.keep_all()

    assert sorted(before) == sorted([kept, ended])
    assert len(site.blobs.part_ids()) == left
    assert site.state.get(kept).received.covers(ByteRange(0, 3))
    assert site.blobs.part_length(kept) == 3
