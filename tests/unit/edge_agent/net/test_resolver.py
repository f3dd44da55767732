"""A look-up that fails in an odd way does not make a name that is never found again."""

import socket

import pytest

from edge_agent.net.resolver import Resolver
from tests.unit.edge_agent.operate.test_control_socket import no_room_for_a_thread

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 443))]


def test_without_a_thread_to_ask_in_the_next_look_up_asks_again():
    names = Resolver(lambda *_, **__: FOUND)

    with no_room_for_a_thread(), pytest.raises(OSError, match="thread"):
        names.addresses("host", 443)

    assert names.addresses("host", 443) == [(socket.AF_INET, ("192.0.2.7", 443))]


def test_a_look_up_that_breaks_is_an_error_and_the_next_one_asks_again():
    answers = [FOUND, [("too", "few")], FOUND]
    names = Resolver(lambda *_, **__: answers.pop(0))

    known = names.addresses("host", 443)
    remembered = names.addresses("host", 443)

    assert known == remembered == names.addresses("host", 443)
    assert answers == []
