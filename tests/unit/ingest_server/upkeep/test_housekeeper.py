"""What is done when a server leads instead of another one."""

import pytest

from ingest_server.core.errors import Refused
from ingest_server.upkeep.housekeeper import Housekeeper
from tests.support.switched_lead import SwitchedLead


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
