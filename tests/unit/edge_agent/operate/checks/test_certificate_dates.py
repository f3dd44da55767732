"""From when to when a certificate is good."""

from datetime import UTC, datetime, timedelta

import pytest

from edge_agent.operate.checks.certificate_dates import validity
from tests.support.certificates import Authority, not_yet_valid


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


def test_the_validity_of_a_certificate_is_read_in_both_forms_of_a_date(tmp_path, authority):
    near = validity(authority.device("one").cert)
    far = validity(not_yet_valid(tmp_path, authority)[0])

    assert near.begins <= datetime.now(UTC) + timedelta(minutes=1)
    assert near.ends - near.begins == timedelta(days=2)
    assert far.begins == datetime(2100, 1, 1, tzinfo=UTC)
    assert far.ends == datetime(2101, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----"]
)
def test_what_is_no_certificate_has_no_validity(tmp_path, text):
    (tmp_path / "a.pem").write_text(text)

    with pytest.raises(ValueError, match=r"a\.pem|certificate"):
        validity(tmp_path / "a.pem")
