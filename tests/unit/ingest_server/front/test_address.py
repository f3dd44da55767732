import pytest

from ingest_server.front.address import ListenAddress, parse_address, site_of


@pytest.mark.parametrize(
    ("text", "address", "is_local"),
    [
        ("127.0.0.1:8080", ListenAddress("127.0.0.1", 8080), True),
        ("127.8.9.1:8080", ListenAddress("127.8.9.1", 8080), True),
        ("localhost:0", ListenAddress("localhost", 0), True),
        ("[::1]:8080", ListenAddress("::1", 8080), True),
        ("[::]:8080", ListenAddress("::", 8080), False),
        ("0.0.0.0:80", ListenAddress("0.0.0.0", 80), False),
        ("ingest.example:80", ListenAddress("ingest.example", 80), False),
        ("127.0.0.1.example:80", ListenAddress("127.0.0.1.example", 80), False),
        ("unix:/run/x.sock", ListenAddress(path="/run/x.sock"), True),
    ],
)
def test_an_address_is_read_and_written_the_same(text, address, is_local):
    assert parse_address(text) == address
    assert str(address) == text
    assert address.is_local is is_local


@pytest.mark.parametrize(
    "text",
    ["", "8080", ":8080", "host", "host:", "host:x", "host:65536", "::1:8080", "[::1]", "[x]:1",
     "unix:", "http://host:80", "host:+80", "host:٨٠"],  # digits that int() takes
)  # fmt: skip
def test_anything_else_is_no_address(text):
    with pytest.raises(ValueError, match="write 127"):
        parse_address(text)


@pytest.mark.parametrize(
    ("address", "other", "is_one"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8:0:1::5", "2001:db8:0:1:ffff::6", True),
        ("2001:db8:0:1::5", "2001:db8:0:2::5", False),
    ],
)
def test_who_counts_as_one_peer(address, other, is_one):
    assert (site_of(address) == site_of(other)) is is_one
